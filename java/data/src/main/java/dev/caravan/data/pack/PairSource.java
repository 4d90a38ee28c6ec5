package dev.caravan.data.pack;

import dev.caravan.data.PairSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import java.util.Arrays;

/**
 * Makes the steps of a run over pairs, as {@link StepSource} does over rows: a step is a pure
 * function of its first example, whatever the number of ranks. Tokens of a step are those of both
 * sides, without padding.
 *
 * <p>After the first steps nothing is allocated. Not safe for several threads.
 */
public final class PairSource {
  private final PairSet pairs;
  private final ExampleOrder order;
  private final StepSize size;
  private final PairShape shape;
  private final PairPacker packer;
  private int[] rowOf = new int[64];
  private int[] sources = new int[64];
  private int[] targets = new int[64];

  /**
   * @param pairs all pairs; none longer than the shape allows on either side
   * @param order whose turn it is; over these pairs
   * @param size how many examples make a step
   * @param shape the buffers to fill
   * @throws UserError if a pair is empty on a side, or too long for the shape or a step; if pairs
   *     are drawn, and the longest that the shape allows would be
   */
  public PairSource(PairSet pairs, ExampleOrder order, StepSize size, PairShape shape) {
    this.pairs = pairs;
    this.order = order;
    this.size = size;
    this.shape = shape;
    packer = new PairPacker(shape);
    if (pairs.isDrawn()) {
      checkStep();
      return;
    }
    for (int row = 0; row < pairs.size(); row++) {
      check(row, "input_ids", pairs.sourceLength(row), shape.sourceLength(), "sequence.length");
      check(row, "labels", pairs.targetLength(row), shape.targetLength(), "sequence.target_length");
      long both = pairs.sourceLength(row) + pairs.targetLength(row);
      if (size instanceof StepSize.Tokens tokens && both > tokens.count()) {
        throw new UserError(
            pairs.where(row)
                + ": "
                + both
                + " tokens, more than train.tokens_per_step = "
                + tokens.count());
      }
    }
  }

  /** Pairs that are not known beforehand may be as long as allowed. */
  private void checkStep() {
    long longest = (long) shape.sourceLength() + shape.targetLength();
    if (size instanceof StepSize.Tokens tokens && longest > tokens.count()) {
      throw new UserError(
          "train.tokens_per_step: got "
              + tokens.count()
              + ", needs at least sequence.length + sequence.target_length = "
              + longest
              + ", which a pair may have");
    }
  }

  private void check(int row, String side, int length, int most, String setting) {
    if (length < 1) {
      throw new UserError(pairs.where(row) + ": " + side + " is empty, needs at least one token");
    }
    if (length > most) {
      throw new UserError(
          pairs.where(row)
              + ": "
              + side
              + " has "
              + length
              + " tokens, more than "
              + setting
              + " = "
              + most);
    }
  }

  /** A step to be filled. */
  public PairStep newStep() {
    return new PairStep(shape);
  }

  /**
   * Makes the step that begins at example {@code firstK}. The next one begins at {@link
   * PairStep#nextK}.
   *
   * @throws IllegalArgumentException if {@code firstK} is negative
   */
  public void fill(long firstK, PairStep into) {
    if (firstK < 0) {
      throw new IllegalArgumentException("firstK must be at least 0, got " + firstK);
    }
    int count = select(firstK);
    into.begin(firstK, firstK + count);
    int buffers = packer.pack(sources, targets, count);
    for (int b = 0; b < buffers; b++) {
      into.open();
    }
    for (int place = 0; place < count; place++) {
      int i = packer.documentAt(place);
      int row = rowOf[i];
      if (packer.bufferOf(i) < 0) {
        continue;
      }
      into.microBatch(packer.bufferOf(i)).append(pairs, row, firstK + i);
      into.count(pairs.sourceLength(row), pairs.targetLength(row), pairs.targets(row));
    }
  }

  /**
   * How many steps, from the first on, it takes until {@code epochs} epochs of examples have been
   * seen; the last step may run on into the next epoch.
   */
  public long stepsOf(long epochs) {
    long examples = Math.multiplyExact(epochs, order.epochSize());
    if (size instanceof StepSize.Examples perStep) {
      return (examples + perStep.count() - 1) / perStep.count();
    }
    long steps = 0;
    for (long k = 0; k < examples; steps++) {
      k += select(k);
    }
    return steps;
  }

  private int select(long firstK) {
    int count = 0;
    long left = size instanceof StepSize.Tokens tokens ? tokens.count() : 0;
    int most = size instanceof StepSize.Examples examples ? examples.count() : Integer.MAX_VALUE;
    while (count < most) {
      int row = order.rowAt(firstK + count);
      int both = pairs.sourceLength(row) + pairs.targetLength(row);
      if (size instanceof StepSize.Tokens && Math.max(1, both) > left) {
        break;
      }
      left -= Math.max(1, both);
      if (rowOf.length == count) {
        rowOf = Arrays.copyOf(rowOf, 2 * count);
        sources = Arrays.copyOf(sources, 2 * count);
        targets = Arrays.copyOf(targets, 2 * count);
      }
      rowOf[count] = row;
      sources[count] = both == 0 ? 0 : shape.sourceFootprint(pairs.sourceLength(row));
      targets[count] = both == 0 ? 0 : shape.targetFootprint(pairs.targetLength(row));
      count++;
    }
    return count;
  }
}
