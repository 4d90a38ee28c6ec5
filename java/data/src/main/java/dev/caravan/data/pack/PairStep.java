package dev.caravan.data.pack;

import java.util.ArrayList;
import java.util.List;

/**
 * The buffers of one optimizer step of pairs, made to be filled again and again by {@link
 * PairSource#fill}.
 */
public final class PairStep {
  private final PairShape shape;
  private final List<PairBatch> buffers = new ArrayList<>();
  private int microBatches;
  private long firstK;
  private long nextK;
  private long sourceTokens;
  private long targetTokens;
  private long targets;

  PairStep(PairShape shape) {
    this.shape = shape;
  }

  /** The number of micro-batches that hold documents. */
  public int microBatches() {
    return microBatches;
  }

  /** Micro-batch {@code i}, which rank i mod N takes. */
  public PairBatch microBatch(int i) {
    if (i < 0 || i >= microBatches) {
      throw new IndexOutOfBoundsException("micro-batch " + i + " of " + microBatches);
    }
    return buffers.get(i);
  }

  /** The first example of this step. */
  public long firstK() {
    return firstK;
  }

  /** The first example of the next step. */
  public long nextK() {
    return nextK;
  }

  /** Encoder tokens over all micro-batches, without padding. */
  public long sourceTokens() {
    return sourceTokens;
  }

  /** Decoder tokens over all micro-batches, without padding. */
  public long targetTokens() {
    return targetTokens;
  }

  /** Labels that count: what the summed loss is divided by. */
  public long targets() {
    return targets;
  }

  /** Padding rows of the encoder's buffers. */
  public long sourcePadding() {
    return (long) microBatches * shape.sourceTokens() - sourceTokens;
  }

  /** Padding rows of the decoder's buffers. */
  public long targetPadding() {
    return (long) microBatches * shape.targetTokens() - targetTokens;
  }

  void begin(long first, long next) {
    firstK = first;
    nextK = next;
    microBatches = 0;
    sourceTokens = 0;
    targetTokens = 0;
    targets = 0;
  }

  /** The next unused micro-batch, cleared. */
  void open() {
    if (microBatches == buffers.size()) {
      buffers.add(new PairBatch(shape));
    } else {
      buffers.get(microBatches).clear();
    }
    microBatches++;
  }

  void count(int source, int target, int counting) {
    sourceTokens += source;
    targetTokens += target;
    targets += counting;
  }
}
