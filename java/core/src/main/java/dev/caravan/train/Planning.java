package dev.caravan.train;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.pack.PackStatistics;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Recompute;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.model.ModelShape;
import dev.caravan.model.ModelSizes;
import dev.caravan.parallel.Mesh;
import java.util.Optional;
import java.util.function.Consumer;

/** Plans a run without training it. */
public final class Planning {
  /**
   * The answer.
   *
   * @param machine that it is planned for
   * @param microBatchTokens tokens of a buffer
   * @param recompute the policy of recomputation, in the run file's words
   * @param report what it costs
   * @param vocabulary that each tensor-parallel rank has all of it, where that is so
   * @param data what fills its buffers, where the data could be read
   * @param estimate of a model that is known by its counts alone: that it is one, and whether it fits; else
   *     empty
   */
  public record Planned(
      Machine machine,
      int microBatchTokens,
      String recompute,
      PlanReport report,
      Optional<String> vocabulary,
      Optional<DataPlan> data,
      Optional<String> estimate) {}

  private static String words(Recompute.Policy policy) {
    if (policy.equals(Recompute.Policy.FULL)) {
      return "full";
    }
    String cheap = policy.cheap() ? "selective" : "none";
    return policy.blocks() == 0 ? cheap : cheap + ", full in " + policy.blocks() + " blocks";
  }

  /**
   * What fills the buffers of a plan.
   *
   * @param rows of an epoch
   * @param meanTokens of a row; of a mixture, about
   * @param packing how the first steps fill their buffers
   */
  public record DataPlan(int rows, double meanTokens, PackStatistics packing) {}

  private static final int STEPS_LOOKED_AT = 16;

  private Planning() {}

  /**
   * Plans a run for one device.
   *
   * @param config the run; its data is looked at where that needs no tokenizer or has one
   * @param machine a machine's name, a file, or {@link Machine#THIS}: the device that is chosen
   * @param choice the device at hand
   * @param notes gets a line where something was assumed
   * @throws UserError if it does not fit, saying what would
   */
  public static Planned plan(
      RunConfig config, String machine, DeviceChoice choice, Consumer<String> notes) {
    if (config.model() instanceof RunConfig.ModelSize named
        && ModelSizes.isNotBuiltYet(named.family())) {
      return counted(config, named, machine);
    }
    ModelSource model = ModelSource.of(config.model());
    Machine target = machine(machine, config, choice);
    Optional<RunData> data = data(config, model, notes);
    try {
      RunData.Lengths rows =
          data.map(RunData::lengths).orElseGet(() -> RunData.Lengths.unknown(config));
      RunPlan plan =
          machine.equals(Machine.THIS)
              ? TrainingRun.plan(config, model.config(), rows, choice)
              : TrainingRun.plan(
                  config,
                  model.config(),
                  rows,
                  target.kind(),
                  choice.threads(),
                  target.memoryBytes());
      PlanReport report = PlanReport.of(config, model, plan, tokensPerStep(config), target);
      return new Planned(
          target,
          plan.buffers().tokens(),
          words(plan.recompute()),
          report,
          vocabulary(config, model, plan),
          data.map(read -> filled(config, read, plan)),
          Optional.empty());
    } finally {
      data.ifPresent(RunData::close);
    }
  }

  private static Optional<String> vocabulary(RunConfig config, ModelSource model, RunPlan plan) {
    int ranks = config.parallel().tensor();
    return ranks == 1 || plan.dividesVocabulary()
        ? Optional.empty()
        : Optional.of(
            "%d tokens, whole on each rank: no multiple of parallel.tensor, %d"
                .formatted(model.config().vocab(), ranks));
  }

  private static DataPlan filled(RunConfig config, RunData data, RunPlan plan) {
    RowSet rows = data.train().rows();
    StepSource source = TrainingRun.source(config, rows, plan.buffers());
    long steps =
        config.train().steps().isPresent()
            ? config.train().steps().getAsInt()
            : source.stepsOf(config.train().epochs().orElseThrow());
    return new DataPlan(
        rows.size(),
        data.lengths().mean(),
        PackStatistics.of(source, (int) Math.max(1, Math.min(STEPS_LOOKED_AT, steps))));
  }

  /** A model whose counts are all that is known. */
  private static Planned counted(RunConfig config, RunConfig.ModelSize named, String machine) {
    ModelShape shape = ModelShape.of(named.family(), named.size()).orElseThrow();
    if (machine.equals(Machine.THIS)) {
      throw new UserError(
          "model.family: '" + named.family() + "' is not built yet; its shape is planned for a machine"
              + " that --machine names");
    }
    Mesh mesh = ExpertSettings.mesh(config.parallel());
    if (mesh.expert() > 1) {
      throw ExpertSettings.noExperts(mesh.expert(), named.family());
    }
    if (mesh.tensor() > 1) {
      throw new UserError(
          "parallel.tensor: got %d, needs 1 for a model that is planned by its counts (%s)"
              .formatted(mesh.tensor(), named.family()));
    }
    Machine target = Machine.of(machine);
    int tokens =
        config
            .train()
            .microBatchTokens()
            .orElseGet(() -> TrainingRun.defaultMicroBatch(config, config.sequence().length()));
    ShapePlan plan = new ShapePlan(shape, config, tokens);
    return new Planned(
        target,
        tokens,
        "full",
        PlanReport.of(config, plan, tokensPerStep(config), target),
        Optional.empty(),
        Optional.empty(),
        Optional.of(
            "by the counts of its shape"
                + plan.misfit(target).map(words -> "; " + words).orElse("")));
  }

  private static Machine machine(String name, RunConfig config, DeviceChoice choice) {
    if (!name.equals(Machine.THIS)) {
      return Machine.of(name);
    }
    Device device = choice.device();
    if (device.kind() == Device.Kind.CPU) {
      Blas.install();
    }
    try (Stream stream = Stream.open(device, choice.threads())) {
      return Machine.measured(
          stream, device.memoryBytes(), RunPlan.storage(config.precision(), device.kind()));
    }
  }

  private static Optional<RunData> data(
      RunConfig config, ModelSource model, Consumer<String> notes) {
    if (config.data().paths().isEmpty() && config.data().mixture().isEmpty()) {
      return Optional.empty();
    }
    try {
      return Optional.of(RunData.load(config, model.config().vocab(), notes));
    } catch (UserError e) {
      notes.accept(
          "the data was not read, so the most documents are planned for: " + e.getMessage());
      return Optional.empty();
    }
  }

  /** Input tokens of a step; with a number of examples, the most that they can have. */
  private static long tokensPerStep(RunConfig config) {
    return config.train().examplesPerStep().isPresent()
        ? (long) config.train().examplesPerStep().getAsInt() * config.sequence().length()
        : config.train().tokensPerStep().orElseThrow();
  }
}
