/** Compares ops, blocks and models with PyTorch as an independent oracle. */
package dev.caravan.oracle;
