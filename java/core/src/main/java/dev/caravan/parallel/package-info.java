/** Ranks: who computes what, and how they exchange it. */
package dev.caravan.parallel;
