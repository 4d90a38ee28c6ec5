package dev.caravan.optim;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Adamw;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * AdamW over the flat buffer of all weights, in one call; of a rank that updates its part of each bucket,
 * one call a bucket, whose weights travel to the other ranks while the next is updated. Source: Loshchilov and Hutter 2019, arXiv
 * 1711.05101, algorithm 2. Weight decay applies to tensors of two or more dimensions.
 */
public final class AdamW implements Optimizer {
  /**
   * Settings that do not change from step to step.
   *
   * @param beta1 decay of the first moment
   * @param beta2 decay of the second moment
   * @param eps added to the root of the second moment
   * @param weightDecay decoupled decay, times the learning rate
   * @param moments F32, or BF16 with stochastic rounding
   */
  public record Settings(
      double beta1, double beta2, double eps, double weightDecay, DType moments) {}

  private final FlatLayout layout;
  private final DType type;
  private final Memory m;
  private final Memory v;
  private final Shards shards;
  private final List<Part> parts = new ArrayList<>();

  /** One call: a piece of the weights, and the table of which of them decay. */
  private record Part(Shards.Piece piece, Memory segments, KernelCall call) {}

  /** Moments of zero for the executor's weights. */
  public AdamW(Executor executor, TensorRef state, Settings settings) {
    layout = executor.plan().weights();
    type = settings.moments();
    Stream stream = executor.stream();
    shards = executor.shards();
    long bytes = layout.keptElements() * type.bytes();
    m = executor.allocate("first moments", bytes);
    v = executor.allocate("second moments", bytes);
    stream.fill(m.address(), 0, bytes);
    stream.fill(v.address(), 0, bytes);
    for (Shards.Piece piece : shards.pieces()) {
      List<FlatLayout.Span> spans = layout.spans(piece.first(), piece.count());
      int rows = piece.bucket() == null ? spans.size() : mostSpans(layout, piece.bucket());
      Memory segments = segments(stream, spans, rows, piece.count());
      parts.add(new Part(piece, segments, call(piece, segments, state, settings)));
    }
  }

  private KernelCall call(
      Shards.Piece piece, Memory segments, TensorRef state, Settings settings) {
    return Adamw.step(
        piece.weights(),
        piece.remainders(),
        piece.gradients(),
        moments(m, piece),
        moments(v, piece),
        TensorRef.in(segments, 0, DType.U8, segments.bytes()),
        state,
        (float) settings.beta1(),
        (float) settings.beta2(),
        (float) settings.eps(),
        (float) settings.weightDecay());
  }

  private TensorRef moments(Memory memory, Shards.Piece piece) {
    return TensorRef.of(memory.address() + piece.kept() * type.bytes(), type, piece.count());
  }

  /** Bytes that AdamW will allocate for a layout: two moments and the tables of weights. */
  public static long stateBytes(FlatLayout layout, DType moments) {
    long bytes = 2 * layout.keptElements() * moments.bytes();
    if (layout.parts() == 1) {
      return bytes + Adamw.segmentBytes(layout.slots().size());
    }
    for (FlatLayout.Bucket bucket : layout.buckets()) {
      bytes += Adamw.segmentBytes(mostSpans(layout, bucket));
    }
    return bytes;
  }

  /** Every rank's table has room for what the rank with most weights in a bucket has. */
  private static int mostSpans(FlatLayout layout, FlatLayout.Bucket bucket) {
    int most = 1;
    long count = bucket.part();
    for (long first = 0; first < bucket.elements(); first += count) {
      most = Math.max(most, layout.spans(bucket.offset() + first, count).size());
    }
    return most;
  }

  /** The table, filled up with empty segments. */
  private static Memory segments(
      Stream stream, List<FlatLayout.Span> spans, int rows, long elements) {
    List<Adamw.Segment> list = new ArrayList<>();
    for (FlatLayout.Span span : spans) {
      list.add(new Adamw.Segment(span.at(), span.count(), span.slot().decays() ? 1 : 0));
    }
    while (list.size() < rows) {
      list.add(new Adamw.Segment(elements, 0, 0));
    }
    int bytes = Math.toIntExact(Adamw.segmentBytes(list.size()));
    Memory table = Memory.allocate(stream.device(), bytes);
    try (Memory host = Memory.allocate(Device.CPU, bytes)) {
      Adamw.putSegments(host.view(0, bytes), list);
      stream.copy(table.address(), host.address(), bytes);
      stream.synchronize();
    }
    return table;
  }

  @Override
  public void step(Stream stream) {
    for (Part part : parts) {
      part.call.run(stream);
      shards.publish(stream, part.piece);
    }
    shards.join(stream);
  }

  @Override
  public Map<String, Map<String, TensorRef>> state() {
    Map<String, Map<String, TensorRef>> state = new LinkedHashMap<>();
    state.put("m", moment(m));
    state.put("v", moment(v));
    return state;
  }

  private Map<String, TensorRef> moment(Memory memory) {
    Map<String, TensorRef> tensors = new LinkedHashMap<>();
    for (Part part : parts) {
      for (FlatLayout.Span span : layout.spans(part.piece.first(), part.piece.count())) {
        long at = part.piece.kept() + span.at();
        tensors.put(
            span.name(), TensorRef.of(memory.address() + at * type.bytes(), type, span.shape()));
      }
    }
    return tensors;
  }

  @Override
  public void close() {
    for (Part part : parts) {
      part.call.close();
      part.segments.close();
    }
    v.close();
    m.close();
  }
}
