/**
 * What the kernels and a training step take on a device, against what the same device was measured to do
 * at best. Nothing here is on the way of a batch.
 */
package dev.caravan.bench;
