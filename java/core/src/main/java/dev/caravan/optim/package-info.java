/** Optimizers over the flat buffer of all weights. */
package dev.caravan.optim;
