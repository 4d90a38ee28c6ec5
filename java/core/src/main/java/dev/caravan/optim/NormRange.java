package dev.caravan.optim;

import dev.caravan.graph.Division;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.List;

/**
 * A range of the gradients that a rank keeps, for their norm. Of tensor-parallel ranks every
 * bucket, or what a rank keeps of it, has two: of the weights that all have alike, which lie first,
 * and of those of which each has a part.
 *
 * @param gradients f32, one row; gaps between weights are zero
 * @param counts whether this rank counts it; false where it is empty, or another rank has the same
 */
record NormRange(TensorRef gradients, boolean counts) {
  /** How many there are on every rank. */
  static int count(FlatLayout layout) {
    return layout.buckets().size() * (layout.grid().tensor().ranks() > 1 ? 2 : 1);
  }

  /** The ranges of an executor's rank. */
  static List<NormRange> of(Executor executor) {
    FlatLayout layout = executor.plan().weights();
    List<NormRange> ranges = new ArrayList<>();
    if (layout.parts() > 1) {
      for (Shards.Piece piece : executor.shards().pieces()) {
        add(ranges, executor, piece.bucket(), piece.gradients(), piece.first());
      }
      return ranges;
    }
    TensorRef all = executor.gradients();
    for (FlatLayout.Bucket bucket : layout.buckets()) {
      TensorRef whole = part(all, bucket.offset(), bucket.elements());
      add(ranges, executor, bucket, whole, bucket.offset());
    }
    return ranges;
  }

  private static void add(
      List<NormRange> ranges,
      Executor executor,
      FlatLayout.Bucket bucket,
      TensorRef row,
      long first) {
    FlatLayout layout = executor.plan().weights();
    Division tensor = layout.grid().tensor();
    // Other ranks have other experts, and other parts of what is kept in parts.
    boolean own =
        layout.parts() > 1
            || bucket.axis() == Axis.REPLICA
            || executor.ranks().rank(Axis.EXPERT) == 0;
    if (tensor.ranks() == 1) {
      ranges.add(new NormRange(row, own));
      return;
    }
    long alike = row.elements();
    for (FlatLayout.Span span : layout.spans(first, row.elements())) {
      if (tensor.cuts(span.slot().name())) {
        alike = Math.min(alike, span.at());
      }
    }
    boolean teller = own && executor.ranks().rank(Axis.TENSOR) == 0;
    ranges.add(new NormRange(part(row, 0, alike), alike > 0 && teller));
    long rest = row.elements() - alike;
    ranges.add(new NormRange(part(row, alike, rest), rest > 0 && own));
  }

  private static TensorRef part(TensorRef row, long first, long count) {
    return TensorRef.of(row.address() + first * DType.F32.bytes(), DType.F32, count);
  }
}
