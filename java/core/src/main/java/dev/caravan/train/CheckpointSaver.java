package dev.caravan.train;

import dev.caravan.checkpoint.CheckpointContents;
import dev.caravan.checkpoint.Checkpoints;
import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.checkpoint.TrainerState;
import dev.caravan.data.UserError;
import dev.caravan.graph.Executor;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.Device;
import dev.caravan.model.WeightSpec;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * Writes the checkpoints of one rank: at once, or from a copy in host memory while training goes on.
 *
 * <p>Ranks that keep parts write their own. They tell each other at the end of a step when they have; then
 * the first one writes the list of all files, which makes the folder a checkpoint. One at most is being
 * written: the next waits for it.
 */
final class CheckpointSaver implements AutoCloseable {
  private final RunConfig config;
  private final ModelSource model;
  private final Executor executor;
  private final TrainingState all;
  private final Collectives ranks;
  private final Checkpoints checkpoints;
  private final boolean first;
  private final boolean shared; // whether others write parts
  private final boolean writes; // whether this rank does
  private final boolean background;
  private final HostCopy copy; // null where this rank copies nothing
  private final GatherWindow window;
  private UnaryOperator<Runnable> around = UnaryOperator.identity();

  /** The checkpoint that is being written; null if none. */
  private TrainerState pending;

  /** What this rank writes of it; null if nothing. */
  private BackgroundWrite writing;

  /** Whether it is a part, and some rank may not have written its own. */
  private boolean partial;

  CheckpointSaver(RunConfig config, ModelSource model, Executor executor, TrainingState all) {
    this.config = config;
    this.model = model;
    this.executor = executor;
    this.all = all;
    ranks = executor.ranks();
    checkpoints = RunFolder.checkpoints(config);
    first = ranks.rank(Axis.WORLD) == 0;
    boolean updates = executor.plan().sharding().updates();
    int grid = executor.plan().weights().grid().ranks();
    shared = (updates ? ranks.size(Axis.WORLD) : grid) > 1;
    writes = first || (shared && (updates || besideFirst(executor)));
    long bytes =
        writes
            ? RunPlan.copyBytes(
                executor.plan(), config, executor.stream().device().kind(), first)
            : 0;
    background = config.checkpoint().background().orElseGet(() -> roomFor(bytes));
    copy = background && writes ? new HostCopy(bytes) : null;
    window = new GatherWindow(executor);
  }

  /** Whether the first rank has the rest of what this one has a part of. */
  static boolean besideFirst(Executor executor) {
    return executor.ranks().rank(Axis.REPLICA) == 0;
  }

  /**
   * Whether a run that leaves it open writes in the background: on a GPU, if half of what the host has left
   * holds the copies of all ranks. All ranks get the same answer.
   */
  private boolean roomFor(long bytes) {
    if (executor.stream().device().kind() == Device.Kind.CPU) {
      return false;
    }
    double room = HostMemory.available(Device.CPU) / 2.0;
    double[] refusals = {(double) bytes * ranks.size(Axis.WORLD) > room ? 1 : 0};
    ranks.sum(Axis.WORLD, refusals);
    return refusals[0] == 0;
  }

  /** Puts something around what is written in the background. */
  void around(UnaryOperator<Runnable> wrapper) {
    around = wrapper;
  }

  /**
   * Saves what was trained so far. All ranks take part.
   *
   * @param state where the run stands
   * @param wait whether it must be written when this returns, as at the end of a run
   * @return checkpoints that are complete since the last call, by step
   * @throws UserError if this one, or the one before, cannot be written
   */
  Map<Integer, Path> save(TrainerState state, boolean wait) {
    Map<Integer, Path> complete = finish();
    executor.stream().synchronize();
    if (first) {
      checkpoints.begin(state.step());
    }
    ranks.barrier();
    if (wait || !background) {
      now(state);
      complete.put(state.step(), checkpoints.path(state.step()));
    } else {
      later(state);
    }
    return complete;
  }

  private void now(TrainerState state) {
    GatheredWeights weights = new GatheredWeights(executor, window);
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      Map<String, List<NamedTensor>> files = writes ? all.tensors(access) : Map.of();
      if (shared) {
        if (writes) {
          naming(() -> checkpoints.write(state.step(), files)).run();
        }
        ranks.barrier();
      }
      if (first) {
        CheckpointContents contents =
            contents(state, weights.tensors(access, names()), shared ? Map.of() : files);
        naming(() -> checkpoints.commit(contents, config.checkpoint().keep())).run();
        weights.done();
      } else {
        weights.serve();
      }
      ranks.barrier();
    }
  }

  private void later(TrainerState state) {
    GatheredWeights weights = new GatheredWeights(executor, window);
    Map<String, List<NamedTensor>> files = new LinkedHashMap<>();
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      if (copy != null) {
        copy.clear();
        all.tensors(access).forEach((name, tensors) -> files.put(name, copy.of(tensors)));
      }
      if (first) {
        List<NamedTensor> whole = copy.of(weights.tensors(access, names()));
        weights.done();
        CheckpointContents contents = contents(state, whole, files);
        // Where others write parts, the list of files waits for them.
        write(
            shared
                ? () -> checkpoints.writeModel(contents)
                : () -> checkpoints.commit(contents, config.checkpoint().keep()));
      } else {
        weights.serve();
        if (shared && writes) {
          write(() -> checkpoints.write(state.step(), files));
        }
      }
    }
    pending = state;
    partial = shared;
  }

  private List<String> names() {
    return model.config().specs().stream().map(WeightSpec::name).toList();
  }

  private void write(Runnable work) {
    writing = new BackgroundWrite("checkpoint-" + ranks.rank(Axis.WORLD), around.apply(naming(work)));
  }

  /** Whether this rank waits for others to write their parts. Asked at the end of every step. */
  boolean written() {
    return partial && (writing == null || writing.done());
  }

  /** All ranks have written their parts. */
  void allWritten() {
    TrainerState state = pending;
    partial = false;
    writing = null;
    if (first) {
      write(() -> checkpoints.complete(state, config.checkpoint().keep()));
    }
  }

  /**
   * Checkpoints that are complete since the last call, by step; told to the first rank.
   *
   * @throws UserError if one could not be written
   */
  Map<Integer, Path> complete() {
    Map<Integer, Path> complete = new TreeMap<>();
    if (writing != null && writing.done() && !partial) {
      complete.put(pending.step(), checkpoints.path(pending.step()));
      writing = null;
    }
    return complete;
  }

  /** Waits for the one that is being written. All ranks take part. */
  private Map<Integer, Path> finish() {
    if (partial) {
      if (writing != null) {
        writing.await();
      }
      ranks.barrier();
      allWritten();
    }
    if (writing != null) {
      writing.await();
    }
    return complete();
  }

  private CheckpointContents contents(
      TrainerState state, List<NamedTensor> weights, Map<String, List<NamedTensor>> files) {
    return new CheckpointContents(
        model.hf().toJson(ModelSource.stored(executor.plan().storage()).torchName()),
        weights,
        files,
        state,
        CheckpointContents.companionsOf(model.folder(), config.tokenizer()));
  }

  /** Of several ranks, a failure names the one. */
  private Runnable naming(Runnable work) {
    if (ranks.size(Axis.WORLD) == 1) {
      return work;
    }
    return () -> {
      try {
        work.run();
      } catch (UserError e) {
        throw new UserError("rank " + ranks.rank(Axis.WORLD) + ": " + e.getMessage(), e);
      }
    };
  }

  /**
   * Ends what is being written when the run has failed: what others may have no part of is given up, all
   * else is finished.
   *
   * @param reason of the run's failure; gets what fails now beside it
   */
  void settle(Throwable reason) {
    if (writing == null) {
      return;
    }
    if (partial) {
      writing.stop();
    }
    try {
      writing.await();
    } catch (RuntimeException | Error e) {
      if (e != reason) {
        reason.addSuppressed(e);
      }
    }
    writing = null;
    partial = false;
  }

  @Override
  public void close() {
    settle(new IllegalStateException("closed"));
    window.close();
    if (copy != null) {
      copy.close();
    }
  }
}
