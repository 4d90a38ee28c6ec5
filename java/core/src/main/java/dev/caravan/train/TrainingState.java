package dev.caravan.train;

import dev.caravan.checkpoint.CheckpointContents;
import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.checkpoint.TrainerState;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.Native;
import dev.caravan.kernels.TensorRef;
import dev.caravan.optim.Optimizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** All that decides the later bits of a run, to and from checkpoints. */
final class TrainingState {
  private final RunConfig config;
  private final ModelSource model;
  private final Executor executor;
  private final Optimizer optimizer;

  TrainingState(
      RunConfig config, ModelSource model, Executor executor, Optimizer optimizer) {
    this.config = config;
    this.model = model;
    this.executor = executor;
    this.optimizer = optimizer;
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
      tensors(access)
          .forEach(
              (name, tensors) -> {
                try (Safetensors file = saved.trainer(name)) {
                  tensors.forEach(file::read);
                }
              });
    }
    return executor.products().restore(saved.state().products());
  }

  /**
   * Writes a checkpoint.
   *
   * @param done steps
   * @param nextExample first example of the next step
   * @param microBatchTokens size of the buffers
   * @param counts running totals
   */
  Path save(
      RunFolder folder, int done, long nextExample, int microBatchTokens, Map<String, Long> counts) {
    executor.stream().synchronize();
    TrainerState state =
        new TrainerState(
            done,
            nextExample,
            done,
            config.train().seed(),
            microBatchTokens,
            counts,
            RunConfigWriter.hash(config),
            Native.abiVersion(),
            executor.stream().device().toString(),
            executor.stream().threads(),
            executor.products().choices());
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      CheckpointContents contents =
          new CheckpointContents(
              model.hf().toJson(ModelSource.stored(executor.plan().storage()).torchName()),
              ModelSource.named(executor, access),
              tensors(access),
              state,
              CheckpointContents.companionsOf(model.folder(), config.tokenizer()));
      return folder.checkpoints().save(contents, config.checkpoint().keep());
    }
  }

  /** What a checkpoint holds beside the model: moments, and the lower halves of split weights. */
  private Map<String, List<NamedTensor>> tensors(TensorAccess access) {
    Map<String, List<NamedTensor>> files = new LinkedHashMap<>();
    optimizer.state().forEach((name, tensors) -> files.put(name, named(tensors, access)));
    if (executor.remainders() != null) {
      Map<String, TensorRef> remainders = new LinkedHashMap<>();
      for (FlatLayout.Slot slot : executor.plan().weights().slots()) {
        remainders.put(slot.name(), executor.remainder(slot.name()));
      }
      files.put("remainder", named(remainders, access));
    }
    return files;
  }

  private static List<NamedTensor> named(Map<String, TensorRef> tensors, TensorAccess access) {
    List<NamedTensor> named = new ArrayList<>();
    tensors.forEach((name, tensor) -> named.add(ModelSource.named(name, tensor, access)));
    return named;
  }
}
