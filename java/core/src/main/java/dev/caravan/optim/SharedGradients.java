package dev.caravan.optim;

import dev.caravan.graph.Division;
import dev.caravan.graph.Division.Split;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import java.util.ArrayList;
import java.util.List;

/**
 * Gradients of weights that tensor-parallel ranks have alike and use on their own parts of the activations,
 * as norms of each head: what a rank has of them are terms, summed once a step, behind the sum over the
 * ranks that see different examples.
 */
public final class SharedGradients {
  private final Collectives ranks;
  private final List<Collective> sums = new ArrayList<>();

  /** Of the gradients that the executor's rank keeps. */
  public SharedGradients(Executor executor) {
    ranks = executor.ranks();
    FlatLayout layout = executor.plan().weights();
    Division division = layout.grid().tensor();
    if (division.ranks() == 1) {
      return;
    }
    for (Shards.Piece piece : executor.shards().pieces()) {
      for (FlatLayout.Span span : layout.spans(piece.first(), piece.count())) {
        if (division.split().apply(span.slot().name()) == Split.SHARED) {
          long at = piece.gradients().address() + span.at() * DType.F32.bytes();
          TensorRef gradient = TensorRef.of(at, DType.F32, span.count());
          sums.add(Collective.allReduce(Axis.TENSOR, division.ranks(), gradient));
        }
      }
    }
  }

  /** Bytes that a rank of a layout sends at the most. */
  public static long wireBytes(FlatLayout layout) {
    Division division = layout.grid().tensor();
    return layout.slots().stream()
        .filter(slot -> division.split().apply(slot.name()) == Split.SHARED)
        .mapToLong(
            slot ->
                Collective.wireBytes(
                    Kind.ALL_REDUCE, division.ranks(), slot.count() * DType.F32.bytes()))
        .sum();
  }

  /** Enqueues it. */
  public void run(Stream stream) {
    if (!sums.isEmpty()) {
      sums.forEach(sum -> ranks.begin(stream, sum));
      ranks.join(stream, Axis.TENSOR);
    }
  }
}
