/**
 * How an answer is compared with references: pure functions of text, each after its published
 * definition.
 */
package dev.caravan.eval.metric;
