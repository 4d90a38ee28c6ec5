/**
 * Experiments of many runs: the papers' axes (tasks, size, reasoning) and that of filtered text.
 * Each cell is a run of its own; what is done is not done again.
 */
package dev.caravan.study;
