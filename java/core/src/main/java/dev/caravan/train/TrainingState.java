package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.PieceName;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.checkpoint.TensorPieces;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Shards;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import dev.caravan.optim.Optimizer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** All that decides the later bits of a run, to and from checkpoints. */
final class TrainingState {
  private final ModelSource model;
  private final Executor executor;
  private final Optimizer optimizer;
  private final OwnPart own;

  TrainingState(ModelSource model, Executor executor, Optimizer optimizer) {
    this.model = model;
    this.executor = executor;
    this.optimizer = optimizer;
    own = OwnPart.of(executor);
  }

  /**
   * Restores weights, moments, and who computed products how.
   *
   * @return why products may round otherwise than before; empty if they do not
   */
  Optional<String> load(SavedCheckpoint saved) {
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      try (Safetensors weights = saved.weights()) {
        model.load(executor, access, weights, saved.folder().toString());
      }
      state()
          .forEach(
              (name, tensors) -> {
                try (TensorPieces file = saved.pieces(name)) {
                  named(tensors, access).forEach(file::read);
                }
              });
    }
    return executor.products().restore(saved.state().products());
  }

  /** The tensors of a checkpoint's trainer folder that this rank writes, by file. */
  Map<String, List<NamedTensor>> tensors(TensorAccess access) {
    Map<String, List<NamedTensor>> files = new LinkedHashMap<>();
    state()
        .forEach(
            (name, tensors) -> {
              Map<String, TensorRef> saved = new LinkedHashMap<>(tensors);
              saved.keySet().removeIf(of -> !own.saves(slot(of), name));
              files.put(file(name), named(saved, access));
            });
    return files;
  }

  /** Where a rank saves what it has of a kind of tensors; all do, or the first that have all together. */
  private String file(String name) {
    Collectives ranks = executor.ranks();
    int writers =
        executor.plan().sharding().updates()
            ? ranks.size(Axis.WORLD)
            : executor.plan().weights().grid().ranks();
    return writers == 1
        ? name
        : SavedCheckpoint.part(name, ranks.rank(Axis.WORLD), writers);
  }

  private FlatLayout.Slot slot(String name) {
    return executor.plan().weights().slot(PieceName.parse(name).tensor());
  }

  /** What a checkpoint holds beside the model: moments, and the lower halves of split weights. */
  private Map<String, Map<String, TensorRef>> state() {
    Map<String, Map<String, TensorRef>> all = new LinkedHashMap<>();
    own()
        .forEach(
            (kind, tensors) -> {
              Map<String, TensorRef> renamed = new LinkedHashMap<>();
              tensors.forEach(
                  (name, tensor) -> {
                    FlatLayout.Slot slot = slot(name);
                    if (own.cut(slot, kind)) {
                      TensorRef row =
                          TensorRef.of(tensor.address(), tensor.dtype(), tensor.elements());
                      long from = PieceName.parse(name).from();
                      renamed.put(own.name(slot, kind, from).toString(), row);
                    } else {
                      renamed.put(name, tensor);
                    }
                  });
              all.put(kind, renamed);
            });
    return all;
  }

  /** The same by the names that tensors have on this rank. */
  private Map<String, Map<String, TensorRef>> own() {
    Map<String, Map<String, TensorRef>> all = new LinkedHashMap<>(optimizer.state());
    if (executor.remainders() != null) {
      FlatLayout layout = executor.plan().weights();
      Map<String, TensorRef> remainders = new LinkedHashMap<>();
      for (Shards.Piece piece : executor.shards().pieces()) {
        for (FlatLayout.Span span : layout.spans(piece.first(), piece.count())) {
          long address = piece.remainders().address() + span.at() * DType.U16.bytes();
          remainders.put(span.name(), TensorRef.of(address, DType.U16, span.shape()));
        }
      }
      all.put("remainder", remainders);
    }
    return all;
  }

  private static List<NamedTensor> named(Map<String, TensorRef> tensors, TensorAccess access) {
    List<NamedTensor> named = new ArrayList<>();
    tensors.forEach((name, tensor) -> named.add(ModelSource.named(name, tensor, access)));
    return named;
  }
}
