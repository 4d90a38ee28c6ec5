package dev.caravan.model;

import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Activation;
import java.util.List;

/**
 * The sparse experts of a model.
 *
 * @param experts in each sparse layer
 * @param choices experts of a token
 * @param ffn width of one expert
 * @param activation what an expert's first product is followed by
 * @param renormalise the weights of the chosen are divided by their sum
 * @param sparse of each layer, whether it has experts; the others are dense
 * @param auxWeight weight of the load-balancing loss that the config asks for; 0 where it asks for none
 * @param part the module that holds router and experts in checkpoints
 * @param shared width of the expert that every token goes through besides, weighted by a gate of its own;
 *     0 where there is none
 */
public record ExpertsConfig(
    int experts,
    int choices,
    int ffn,
    Activation activation,
    boolean renormalise,
    List<Boolean> sparse,
    double auxWeight,
    String part,
    int shared) {
  /** Without a shared expert. */
  public ExpertsConfig(
      int experts,
      int choices,
      int ffn,
      Activation activation,
      boolean renormalise,
      List<Boolean> sparse,
      double auxWeight,
      String part) {
    this(experts, choices, ffn, activation, renormalise, sparse, auxWeight, part, 0);
  }

  /** Copies the list. */
  public ExpertsConfig {
    sparse = List.copyOf(sparse);
    if (experts < 1 || experts > Experts.MAX) {
      throw new IllegalArgumentException(
          "experts: got " + experts + ", needs 1 to " + Experts.MAX);
    }
  }

  /** The same with a shared expert of that width. */
  ExpertsConfig sharing(int width) {
    return new ExpertsConfig(
        experts, choices, ffn, activation, renormalise, sparse, auxWeight, part, width);
  }

  /** Which of the sparse layers a layer is, from 0. */
  int index(int layer) {
    return (int) sparse.subList(0, layer).stream().filter(is -> is).count();
  }

  /** How many layers are sparse. */
  public int layers() {
    return index(sparse.size());
  }

  /** Columns of an expert's first product. */
  int width() {
    return activation.gated() ? 2 * ffn : ffn;
  }

  /** Name of a layer's router, [experts, dModel]. */
  String router(int layer) {
    return LlamaWeights.weight(layer, part + ".gate");
  }

  /** Name of a layer's first weights of all experts, [experts, width, dModel]. */
  String first(int layer) {
    return "model.layers." + layer + "." + part + (activation.gated() ? ExpertWeights.FIRST : ExpertWeights.UNGATED);
  }

  /** Name of the shared expert's gate in a layer, [1, dModel]. */
  String sharedGate(int layer) {
    return LlamaWeights.weight(layer, part + ".shared_expert_gate");
  }

  /** Columns of the shared expert's first product. */
  int sharedWidth() {
    return activation.gated() ? 2 * shared : shared;
  }

  /** Name of the shared expert's first weights, [1, sharedWidth, dModel]. */
  String sharedFirst(int layer) {
    return "model.layers."
        + layer
        + "."
        + part
        + (activation.gated() ? ExpertWeights.SHARED_FIRST : ExpertWeights.SHARED_UNGATED);
  }

  /** Name of the shared expert's second weights, [1, dModel, shared]. */
  String sharedSecond(int layer) {
    return "model.layers." + layer + "." + part + ExpertWeights.SHARED_SECOND;
  }

  /** Name of a layer's second weights of all experts, [experts, dModel, ffn]. */
  String second(int layer) {
    return "model.layers." + layer + "." + part + ExpertWeights.SECOND;
  }
}
