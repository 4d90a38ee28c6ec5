package dev.caravan.data.mix;

import dev.caravan.data.source.Example;

/** The examples of a task, by number. Safe for several threads. */
interface ExampleSet {
  /** How many there are. */
  long size();

  /** Example {@code row}. */
  Example example(long row);

  /** Rows that were left out as bad. */
  long skipped();

  /** Rows that were left out because the run evaluates on them. */
  long copies();

  /** Where example {@code row} is from: {@code FILE:LINE}. */
  String where(long row);
}
