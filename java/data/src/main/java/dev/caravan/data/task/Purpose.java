package dev.caravan.data.task;

/** What rows are loaded for. */
public enum Purpose {
  /**
   * Rows without a target teach nothing: they are left out and counted. Text rows that are too long
   * are truncated.
   */
  TRAIN,
  /** Every row is kept, in order, and none is ever truncated: one that is too long is an error. */
  SCORE
}
