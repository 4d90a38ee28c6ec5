/**
 * From rows to the buffers of a training step. A step owns a consecutive run of examples that
 * (seed, step) alone fixes; they are packed best-fit into buffers of equal size, whichever rank
 * takes which buffer.
 */
package dev.caravan.data.pack;
