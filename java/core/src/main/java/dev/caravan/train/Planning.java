package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.graph.Recompute;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import java.util.function.Consumer;

/** Plans a run without training it. */
public final class Planning {
  /**
   * The answer.
   *
   * @param machine that it is planned for
   * @param plan of one device
   * @param report what it costs
   */
  public record Planned(Machine machine, RunPlan plan, PlanReport report) {
    /** The policy of recomputation, in the run file's words. */
    public String recompute() {
      Recompute.Policy policy = plan.recompute();
      if (policy.equals(Recompute.Policy.FULL)) {
        return "full";
      }
      String cheap = policy.cheap() ? "selective" : "none";
      return policy.blocks() == 0 ? cheap : cheap + ", full in " + policy.blocks() + " blocks";
    }
  }

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
    ModelSource model = ModelSource.of(config.model());
    Machine target = machine(machine, config, choice);
    RunData.Lengths rows = lengths(config, model, notes);
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
    return new Planned(target, plan, PlanReport.of(config, model, plan, tokensPerStep(config), target));
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

  private static RunData.Lengths lengths(
      RunConfig config, ModelSource model, Consumer<String> notes) {
    if (config.data().paths().isEmpty() && config.data().mixture().isEmpty()) {
      return RunData.Lengths.unknown(config);
    }
    try (RunData data = RunData.load(config, model.config().vocab())) {
      return data.lengths();
    } catch (UserError e) {
      notes.accept(
          "the data was not read, so the most documents are planned for: " + e.getMessage());
      return RunData.Lengths.unknown(config);
    }
  }

  /** Input tokens of a step; with a number of examples, the most that they can have. */
  private static long tokensPerStep(RunConfig config) {
    return config.train().examplesPerStep().isPresent()
        ? (long) config.train().examplesPerStep().getAsInt() * config.sequence().length()
        : config.train().tokensPerStep().orElseThrow();
  }
}
