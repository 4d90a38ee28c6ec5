package dev.caravan.train;

import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.TensorRef;
import dev.caravan.optim.Adafactor;
import dev.caravan.optim.AdamW;
import dev.caravan.optim.Optimizer;

/** From the run file's words to an optimizer. */
final class Optimizers {
  private Optimizers() {}

  /** The optimizer of a run, with state of zero. */
  static Optimizer create(RunConfig.Optimizer config, Executor executor, TensorRef state) {
    return switch (config.name()) {
      case ADAMW -> new AdamW(executor, state, adamw(config));
      case ADAFACTOR -> new Adafactor(executor, state, adafactor(config));
    };
  }

  /** Whether each weight has to lie on one rank where ranks keep parts. */
  static boolean needsWholeWeights(RunConfig.Optimizer config) {
    return config.name() == RunConfig.OptimizerName.ADAFACTOR;
  }

  /** Bytes of the state that it will keep. */
  static long stateBytes(RunConfig.Optimizer config, FlatLayout layout, Device.Kind kind) {
    return switch (config.name()) {
      case ADAMW -> AdamW.stateBytes(layout, adamw(config).moments());
      case ADAFACTOR -> Adafactor.stateBytes(layout, adafactor(config), kind);
    };
  }

  /** Bytes that a rank sends in a step for the update itself. */
  static long wireBytes(RunConfig.Optimizer config, FlatLayout layout) {
    return switch (config.name()) {
      case ADAMW -> 0;
      case ADAFACTOR -> Adafactor.wireBytes(layout, adafactor(config));
    };
  }

  private static AdamW.Settings adamw(RunConfig.Optimizer o) {
    DType moments = o.moments() == RunConfig.Storage.BF16 ? DType.BF16 : DType.F32;
    return new AdamW.Settings(o.beta1(), o.beta2(), o.eps(), o.weightDecay(), moments);
  }

  private static Adafactor.Settings adafactor(RunConfig.Optimizer o) {
    RunConfig.Adafactor a = o.adafactor();
    return new Adafactor.Settings(
        a.beta1(),
        a.decayRate(),
        a.clipThreshold(),
        a.scaleParameter(),
        a.factored(),
        o.weightDecay());
  }
}
