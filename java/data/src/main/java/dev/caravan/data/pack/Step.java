package dev.caravan.data.pack;

import java.util.ArrayList;
import java.util.List;

/**
 * The buffers of one optimizer step, made to be filled again and again by {@link StepSource#fill}.
 * To read one step while the next is being made, use two.
 */
public final class Step {
  private final BufferShape shape;
  private final List<MicroBatch> buffers = new ArrayList<>();
  private int microBatches;
  private long firstK;
  private long nextK;
  private long inputTokens;
  private long targetTokens;

  Step(BufferShape shape) {
    this.shape = shape;
  }

  /** The shape of every buffer. */
  public BufferShape shape() {
    return shape;
  }

  /** The number of buffers that hold documents. */
  public int microBatches() {
    return microBatches;
  }

  /** Buffer {@code i}, which rank i mod N takes. */
  public MicroBatch microBatch(int i) {
    if (i < 0 || i >= microBatches) {
      throw new IndexOutOfBoundsException("micro-batch " + i + " of " + microBatches);
    }
    return buffers.get(i);
  }

  /** The first example of this step. */
  public long firstK() {
    return firstK;
  }

  /**
   * The first example of the next step: with the step's number, the whole resume state of the data.
   */
  public long nextK() {
    return nextK;
  }

  /** The examples of this step. */
  public long examples() {
    return nextK - firstK;
  }

  /** Tokens over all buffers, without padding. */
  public long inputTokens() {
    return inputTokens;
  }

  /** Target tokens over all buffers: what the summed loss is divided by. */
  public long targetTokens() {
    return targetTokens;
  }

  /** Padding rows over all buffers. */
  public long paddingTokens() {
    return (long) microBatches * shape.tokens() - inputTokens;
  }

  void begin(long first, long next) {
    firstK = first;
    nextK = next;
    microBatches = 0;
    inputTokens = 0;
    targetTokens = 0;
  }

  /** The next unused buffer, cleared. */
  MicroBatch open() {
    if (microBatches == buffers.size()) {
      buffers.add(new MicroBatch(shape));
    } else {
      buffers.get(microBatches).clear();
    }
    return buffers.get(microBatches++);
  }

  void count(int tokens, int targets) {
    inputTokens += tokens;
    targetTokens += targets;
  }
}
