package dev.caravan.data.mix;

import dev.caravan.data.PairSet;
import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** A task's rows as tokens. Safe for several threads. */
interface TaskRows {
  /** How many there are. */
  long size();

  /**
   * Row {@code row} as tokens, a pure function of its arguments.
   *
   * @param visit how often every row of the task has come up before; another visit may put it into
   *     other words
   */
  Block.Encoded encode(long row, long visit);

  /** The number of the phrasing that a row has on a visit; 0 where there is but one. */
  default int phrasing(long row, long visit) {
    return 0;
  }

  /**
   * The options that a row has on a visit, a pure function of its arguments; of a task with options
   * only.
   */
  default AnswerChoice choice(long row, long visit) {
    throw new IllegalStateException("a task of tokens has no options");
  }

  /** Answers that are as right as a row's own, in the words that it has on a visit. */
  default List<String> alternatives(long row, long visit) {
    return List.of();
  }

  /** Where a row is from: {@code FILE:LINE}. */
  String where(long row);

  /** Rows that were left out as bad. */
  long skipped();

  /** Rows that were left out because the run evaluates on them. */
  default long copies() {
    return 0;
  }

  /** Counts exemplars of the rows that were encoded; empty for a task that has none. */
  default Optional<FewShot> fewShot() {
    return Optional.empty();
  }

  /** Pairs that are tokens already. */
  static TaskRows of(PairSet pairs) {
    return new TaskRows() {
      @Override
      public long size() {
        return pairs.size();
      }

      @Override
      public Block.Encoded encode(long row, long visit) {
        int at = Math.toIntExact(row);
        int sources = pairs.sourceLength(at);
        int[] ids = new int[sources + pairs.targetLength(at)];
        int[] labels = new int[ids.length];
        pairs.copySource(at, ids, 0);
        Arrays.fill(labels, 0, sources, Row.NO_TARGET);
        pairs.copyLabels(at, labels, sources);
        for (int i = sources; i < ids.length; i++) {
          ids[i] = Math.max(0, labels[i]); // a label that does not count has no id
        }
        return new Block.Encoded(ids, labels, ids.length, Block.Fate.KEPT, 0, sources);
      }

      @Override
      public String where(long row) {
        return pairs.where(Math.toIntExact(row));
      }

      @Override
      public long skipped() {
        return 0;
      }
    };
  }

  /**
   * Rows that are tokens already.
   *
   * @param copies that were left out of them
   */
  static TaskRows of(RowSet rows, long copies) {
    return new TaskRows() {
      @Override
      public long copies() {
        return copies;
      }

      @Override
      public long size() {
        return rows.size();
      }

      @Override
      public Block.Encoded encode(long row, long visit) {
        int at = Math.toIntExact(row);
        int[] ids = new int[rows.length(at)];
        int[] labels = new int[ids.length];
        rows.copyIds(at, ids, 0);
        rows.copyLabels(at, labels, 0);
        return new Block.Encoded(ids, labels, ids.length, Block.Fate.KEPT, 0);
      }

      @Override
      public String where(long row) {
        return rows.where(Math.toIntExact(row));
      }

      @Override
      public long skipped() {
        return 0;
      }
    };
  }
}
