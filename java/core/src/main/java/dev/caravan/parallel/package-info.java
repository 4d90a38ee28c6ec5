/** Ranks: who computes what, and how they exchange it. One rank so far. */
package dev.caravan.parallel;
