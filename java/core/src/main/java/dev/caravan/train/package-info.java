/** The training loop and what surrounds it. */
package dev.caravan.train;
