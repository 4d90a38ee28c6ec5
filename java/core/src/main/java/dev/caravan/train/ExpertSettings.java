package dev.caravan.train;

import dev.caravan.data.UserError;
import dev.caravan.graph.ExpertExchange;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Balance;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.ExpertLosses;
import dev.caravan.model.ExpertsConfig;
import dev.caravan.model.GlamConfig;
import dev.caravan.parallel.Mesh;

/** What a run file's experts keys mean for a model. */
final class ExpertSettings {
  /** Weight of GLaM's and Switch's balance losses. Sources: arXiv 2112.06905; 2101.03961, eq. 4. */
  private static final double WEIGHT = 0.01;

  private ExpertSettings() {}

  /**
   * The losses of a run.
   *
   * @throws UserError if the model has no experts and the keys ask for some
   */
  static ExpertLosses losses(RunConfig config, DecoderConfig model) {
    RunConfig.Experts keys = config.experts();
    if (model.experts().isEmpty()) {
      boolean loss =
          keys.auxLoss() != RunConfig.AuxLoss.AUTO && keys.auxLoss() != RunConfig.AuxLoss.NONE;
      boolean drops =
          keys.capacityFactor().isPresent() || keys.secondExpert() != RunConfig.SecondExpert.ALL;
      if (loss || drops || keys.zWeight() != 0) {
        throw new UserError("experts: the model has no sparse experts (" + model.modelType() + ")");
      }
      return ExpertLosses.NONE;
    }
    ExpertsConfig experts = model.experts().get();
    Balance definition =
        switch (keys.auxLoss()) {
          case AUTO -> automatic(model, experts);
          case NONE -> Balance.NONE;
          case GLAM, SWITCH -> Balance.FIRST;
          case MIXTRAL, OLMOE -> Balance.CHOSEN;
        };
    double own =
        definition == Balance.CHOSEN && experts.auxWeight() > 0 ? experts.auxWeight() : WEIGHT;
    return new ExpertLosses(
        definition,
        keys.auxWeight().orElse(own),
        keys.zWeight(),
        keys.capacityFactor().orElse(0),
        keys.groupSize(),
        new Experts.Second(
            Experts.Second.Policy.valueOf(keys.secondExpert().name()), keys.secondThreshold()));
  }

  /**
   * How the ranks of a run are arranged.
   *
   * @throws UserError if the ranks that share the experts do not divide those of data
   */
  static Mesh mesh(RunConfig.Parallel parallel) {
    if (parallel.data() % parallel.expert() != 0) {
      throw new UserError(
          "parallel.expert: got %d, needs a divisor of parallel.data, which is %d"
              .formatted(parallel.expert(), parallel.data()));
    }
    return new Mesh(parallel.data(), parallel.tensor(), parallel.expert());
  }

  /** How rows come to the experts of other ranks. */
  static ExpertExchange exchange(RunConfig config) {
    return ExpertExchange.valueOf(config.parallel().expertExchange().name());
  }

  /**
   * Checks that the exchange has what it takes.
   *
   * @throws UserError if it has nothing to exchange, or not the key that says its size
   */
  static void checkExchange(RunConfig config) {
    RunConfig.ExpertExchange asked = config.parallel().expertExchange();
    if (asked == RunConfig.ExpertExchange.GATHER) {
      checkGather(config);
      return;
    }
    String got = "parallel.expert_exchange: got " + Fields.name(asked) + ", needs ";
    if (config.parallel().expert() == 1) {
      throw new UserError(got + "parallel.expert of at least 2 beside it");
    }
    boolean fixed = asked == RunConfig.ExpertExchange.PADDED;
    if (fixed && config.experts().capacityFactor().isEmpty()) {
      throw new UserError(
          got + "experts.capacity_factor beside it, which says how many rows go to each rank");
    }
  }

  /** Who gathers sorts the choices of all ranks, whose weights come later and whose draws are their own. */
  private static void checkGather(RunConfig config) {
    RunConfig.SecondExpert second = config.experts().secondExpert();
    if (config.parallel().expert() > 1 && second != RunConfig.SecondExpert.ALL) {
      throw new UserError(
          "experts.second_expert: got "
              + Fields.name(second)
              + ", needs parallel.expert_exchange of padded or exact where ranks share the experts");
    }
  }

  /** The refusal of ranks that would share experts which a model has not. */
  static UserError noExperts(int ranks, String model) {
    return new UserError(
        "parallel.expert: got %d, needs 1 for a model without sparse experts (%s)"
            .formatted(ranks, model));
  }

  /**
   * Checks that ranks which share experts need not look into each other's groups.
   *
   * @param tokens of a micro-batch
   * @throws UserError if a group would lie in two micro-batches
   */
  static void checkGroups(RunConfig config, int tokens) {
    int group = config.experts().groupSize();
    if (group > 0 && group < tokens && tokens % group != 0) {
      throw new UserError(
          "experts.group_size: got %d, needs a divisor of the micro-batch's %d tokens where ranks share"
              .formatted(group, tokens)
              + " the experts");
    }
  }

  /**
   * Checks that the ranks of a mesh can share the model's experts.
   *
   * @throws UserError if they cannot
   */
  static void checkRanks(Mesh mesh, DecoderConfig model) {
    if (model.experts().isEmpty()) {
      throw noExperts(mesh.expert(), model.modelType());
    }
    int experts = model.experts().get().experts();
    if (experts % mesh.expert() != 0) {
      throw new UserError(
          "parallel.expert: got %d, needs a divisor of the model's %d experts"
              .formatted(mesh.expert(), experts));
    }
  }

  private static Balance automatic(DecoderConfig model, ExpertsConfig experts) {
    if (model.modelType().equals(GlamConfig.TYPE)) {
      return Balance.FIRST;
    }
    return experts.auxWeight() > 0 ? Balance.CHOSEN : Balance.NONE;
  }
}
