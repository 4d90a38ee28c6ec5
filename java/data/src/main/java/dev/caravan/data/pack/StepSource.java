package dev.caravan.data.pack;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import java.util.Arrays;

/**
 * Makes the steps of a run: which examples a step owns, and how they lie in its buffers. A step is
 * a pure function of its first example (and so of the seed and the step's number), whatever the
 * number of ranks, so any step can be made alone and a resumed run makes the same ones.
 *
 * <p>After the first steps nothing is allocated. Not safe for several threads; threads may have a
 * source each over the same rows.
 */
public final class StepSource {
  private final RowSet rows;
  private final ExampleOrder order;
  private final StepSize size;
  private final BufferShape shape;
  private final Packer packer;
  private int[] rowOf = new int[64];
  private int[] footprint = new int[64];

  /**
   * @param rows all rows; none longer than the shape's sequence length
   * @param order whose turn it is; over these rows
   * @param size how many examples make a step
   * @param shape the buffers to fill
   * @throws UserError if a row is longer than the sequence length, or than a step of {@link
   *     StepSize.Tokens}
   */
  public StepSource(RowSet rows, ExampleOrder order, StepSize size, BufferShape shape) {
    this.rows = rows;
    this.order = order;
    this.size = size;
    this.shape = shape;
    checkLengths();
    packer = new Packer(shape.tokens(), shape.maxDocuments());
  }

  /** A step to be filled, with buffers of this source's shape. */
  public Step newStep() {
    return new Step(shape);
  }

  /** A buffer without documents, for a rank that has none left but joins the step's collectives. */
  public MicroBatch emptyMicroBatch() {
    return new MicroBatch(shape);
  }

  /**
   * Makes the step that begins at example {@code firstK}. The next one begins at {@link
   * Step#nextK}; the first of a run at 0.
   */
  public void fill(long firstK, Step into) {
    fill(firstK, Long.MAX_VALUE, into);
  }

  /**
   * Makes the step that begins at example {@code firstK} and takes no example from {@code endK} on.
   * With {@link ExampleOrder#sequential} and endK = the number of rows, the steps from 0 on visit
   * every row once and in order, as evaluation and scoring need. Ranks that are threads share one
   * source.
   *
   * @throws IllegalArgumentException unless 0 &lt;= firstK &lt; endK
   */
  public synchronized void fill(long firstK, long endK, Step into) {
    if (firstK < 0 || firstK >= endK) {
      throw new IllegalArgumentException("firstK must be 0 to " + (endK - 1) + ", got " + firstK);
    }
    int count = select(firstK, endK);
    for (int i = 0; i < count; i++) {
      int length = rows.length(rowOf[i]);
      footprint[i] = length == 0 ? 0 : shape.footprint(length);
    }
    into.begin(firstK, firstK + count);
    int buffers = packer.pack(footprint, count);
    for (int b = 0; b < buffers; b++) {
      into.open();
    }
    for (int place = 0; place < count; place++) {
      int i = packer.documentAt(place);
      int buffer = packer.bufferOf(i);
      if (buffer >= 0) {
        into.microBatch(buffer).append(rows, rowOf[i], firstK + i);
        into.count(rows.length(rowOf[i]), rows.targets(rowOf[i]));
      }
    }
  }

  /**
   * How many steps, from the first on, it takes until {@code epochs} epochs of examples have been
   * seen; the last step may run on into the next epoch. With {@link StepSize.Tokens} this looks at
   * the lengths of all those examples.
   */
  public long stepsOf(long epochs) {
    long examples = Math.multiplyExact(epochs, order.epochSize());
    if (size instanceof StepSize.Examples perStep) {
      return (examples + perStep.count() - 1) / perStep.count();
    }
    long steps = 0;
    for (long k = 0; k < examples; steps++) {
      k += select(k, Long.MAX_VALUE);
    }
    return steps;
  }

  /**
   * Writes the rows of the run of examples that begins at {@code firstK} to rowOf. Returns how many
   * they are.
   */
  private int select(long firstK, long endK) {
    int count = 0;
    if (size instanceof StepSize.Examples perStep) {
      count = (int) Math.min(perStep.count(), endK - firstK);
      reserve(count);
      for (int i = 0; i < count; i++) {
        rowOf[i] = order.rowAt(firstK + i);
      }
      return count;
    }
    long left = ((StepSize.Tokens) size).count();
    for (long k = firstK; k < endK; k++) {
      int row = order.rowAt(k);
      left -= Math.max(1, rows.length(row));
      if (left < 0) {
        break;
      }
      reserve(count + 1);
      rowOf[count++] = row;
    }
    return count;
  }

  private void reserve(int count) {
    if (rowOf.length < count) {
      int capacity = Math.max(count, 2 * rowOf.length);
      rowOf = Arrays.copyOf(rowOf, capacity);
      footprint = Arrays.copyOf(footprint, capacity);
    }
  }

  private void checkLengths() {
    long perStep = size instanceof StepSize.Tokens tokens ? tokens.count() : Long.MAX_VALUE;
    if (rows.maxLength() <= Math.min(shape.sequenceLength(), perStep)) {
      return;
    }
    for (int row = 0; row < rows.size(); row++) {
      int length = rows.length(row);
      if (length > shape.sequenceLength()) {
        throw new UserError(
            rows.where(row)
                + ": "
                + length
                + " tokens, more than sequence.length = "
                + shape.sequenceLength());
      }
      if (length > perStep) {
        throw new UserError(
            rows.where(row)
                + ": "
                + length
                + " tokens, more than train.tokens_per_step = "
                + perStep);
      }
    }
  }
}
