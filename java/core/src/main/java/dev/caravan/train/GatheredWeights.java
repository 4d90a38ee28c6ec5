package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Collective.Axis;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * The whole weights of ranks that keep parts, for the first rank to write: it asks for one bucket after
 * another, and all gather it. The others {@link #serve} meanwhile.
 */
final class GatheredWeights {
  private static final int DONE = -1;

  private final Executor executor;
  private final boolean parts;
  private int gathered = DONE;

  GatheredWeights(Executor executor) {
    this.executor = executor;
    parts = executor.plan().sharding().weights();
  }

  /** The weights, for the first rank; to be read before {@link #done}. */
  List<NamedTensor> tensors(TensorAccess access) {
    if (!parts) {
      return ModelSource.named(executor, access);
    }
    List<NamedTensor> tensors = new ArrayList<>();
    List<FlatLayout.Bucket> buckets = executor.plan().weights().buckets();
    for (int b = 0; b < buckets.size(); b++) {
      for (FlatLayout.Slot slot : buckets.get(b).slots()) {
        tensors.addAll(
            ModelSource.stored(slot.name(), executor.weight(slot.name()), new Staged(b, access)));
      }
    }
    return tensors;
  }

  /** Lets the other ranks go on. */
  void done() {
    if (parts) {
      ask(DONE);
    }
  }

  /** Gathers what the first rank asks for, until it has done. */
  void serve() {
    for (int bucket = parts ? ask(DONE) : DONE; bucket != DONE; bucket = ask(DONE)) {
      executor.shards().gather(bucket);
    }
  }

  /** What the first rank wants; the others add nothing. */
  private int ask(int bucket) {
    double[] wish = {bucket - DONE};
    executor.ranks().sum(Axis.DATA, wish);
    return (int) wish[0] + DONE;
  }

  /** Reads tensors of one bucket, which it has gathered first. */
  private final class Staged implements TensorAccess {
    private final int bucket;
    private final TensorAccess access;

    Staged(int bucket, TensorAccess access) {
      this.bucket = bucket;
      this.access = access;
    }

    @Override
    public int window() {
      return access.window();
    }

    @Override
    public ByteBuffer read(long address, int bytes) {
      if (gathered != bucket) {
        ask(bucket);
        executor.shards().gather(bucket);
        gathered = bucket;
      }
      return access.read(address, bytes);
    }

    @Override
    public void write(long address, ByteBuffer bytes) {
      throw new UnsupportedOperationException("gathered weights are read only");
    }
  }
}
