/** Safetensors files, and the checkpoints of a run. */
package dev.caravan.checkpoint;
