/** What a run records while it trains: metrics, TensorBoard events, progress. */
package dev.caravan.train.log;
