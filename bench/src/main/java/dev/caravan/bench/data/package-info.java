/** What becomes of data before it is trained on: how fast, and the same as elsewhere. */
package dev.caravan.bench.data;
