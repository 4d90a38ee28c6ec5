/**
 * Tensors: an address on a device with a dtype and a shape.
 */
package dev.caravan.tensor;
