/**
 * Public benchmarks as values: where the questions lie, how they are put, how answers are scored.
 * Nothing here knows a model; {@link dev.caravan.eval.suite.Examiner} asks one.
 */
package dev.caravan.eval.suite;
