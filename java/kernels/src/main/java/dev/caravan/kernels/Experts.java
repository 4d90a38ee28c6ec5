package dev.caravan.kernels;

import static dev.caravan.kernels.KernelCall.set;
import static dev.caravan.kernels.KernelCall.zeroed;

import dev.caravan.kernels.abi.Caravan;
import dev.caravan.kernels.abi.caravan_balance_args;
import dev.caravan.kernels.abi.caravan_combine_args;
import dev.caravan.kernels.abi.caravan_expert_places_args;
import dev.caravan.kernels.abi.caravan_expert_sort_args;
import dev.caravan.kernels.abi.caravan_grouped_matmul_backward_args;
import dev.caravan.kernels.abi.caravan_grouped_matmul_forward_args;
import dev.caravan.kernels.abi.caravan_grouped_outer_args;
import dev.caravan.kernels.abi.caravan_router_backward_args;
import dev.caravan.kernels.abi.caravan_router_forward_args;

/**
 * Sparse experts: router, sort by expert, grouped products, combine. Shapes: T tokens, E experts, C
 * choices of a token, A = T C rows; caravan.h has the formulas and their sources.
 */
public final class Experts {
  /** Experts of a layer at most. */
  public static final int MAX = Caravan.CARAVAN_MAX_EXPERTS;

  private Experts() {}

  /** Elements of a layer's statistics. */
  public static long stats(long experts) {
    return 3 * experts + 2;
  }

  /** How logits become weights. */
  public enum Scoring {
    SOFTMAX,
    SIGMOID
  }

  /** Formulas of the load-balancing loss, as {@code caravan_balance} numbers them. */
  public enum Balance {
    NONE,
    /** Per layer, by first choices: GLaM, GShard, Switch. */
    FIRST,
    /** Over all layers, by all choices: Mixtral and OLMoE in Hugging Face. */
    CHOSEN
  }

  /** What an expert's first product is followed by, as {@code caravan_expert_activation} says. */
  public enum Activation {
    NONE,
    SWIGLU,
    GEGLU,
    GEGLU_TANH,
    SILU,
    GELU,
    GELU_TANH;

    /** Whether a row has two halves, gate and up. */
    public boolean gated() {
      return this == SWIGLU || this == GEGLU || this == GEGLU_TANH;
    }
  }

  /**
   * Which of a token's choices after the first are kept, before places are given out.
   *
   * @param policy of them
   * @param threshold of the policy
   */
  public record Second(Policy policy, double threshold) {
    /** All of them. */
    public static final Second ALL = new Second(Policy.ALL, 0);

    /** As {@code caravan_second_expert} numbers them. */
    public enum Policy {
      /** Every one. */
      ALL,
      /** Those of weight above the threshold. */
      THRESHOLD,
      /** Those with u < weight / threshold, u drawn from [0, 1) by seed, step, layer and assignment. */
      RANDOM
    }

    /** Whether some may be left out. */
    public boolean chooses() {
      return policy != Policy.ALL;
    }

    /** Whether the step's state is needed. */
    public boolean draws() {
      return policy == Policy.RANDOM;
    }
  }

  /**
   * Chooses experts.
   *
   * @param logits f32 [T, E]
   * @param rows i32 [1] or null
   * @param weights f32 [T, C] =
   * @param experts i32 [T, C] =
   * @param stats f32 [{@link #stats}] =
   */
  public static KernelCall router(
      TensorRef logits,
      TensorRef rows,
      TensorRef weights,
      TensorRef experts,
      TensorRef stats,
      Scoring scoring,
      boolean renormalise) {
    caravan_router_forward_args args = zeroed(new caravan_router_forward_args());
    set(args.logits(), logits);
    set(args.rows(), rows);
    set(args.weights(), weights);
    set(args.experts(), experts);
    set(args.stats(), stats);
    args.scoring(scoring.ordinal()).renormalise(renormalise ? 1 : 0);
    return KernelCall.of(
        "router_forward",
        args,
        stream -> Caravan.caravan_router_forward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_router_forward_workspace(kind, args, bytes));
  }

  /**
   * The gradient of the logits.
   *
   * @param dWeights f32 [A] by grouped row
   * @param slots i32 [T, C]
   * @param factors f32 [E + 1] of {@link #balance}, or null
   * @param dLogits f32 [T, E] =
   */
  public static KernelCall routerBackward(
      TensorRef logits,
      TensorRef rows,
      TensorRef weights,
      TensorRef experts,
      TensorRef dWeights,
      TensorRef slots,
      TensorRef factors,
      TensorRef dLogits,
      Scoring scoring,
      boolean renormalise) {
    caravan_router_backward_args args = zeroed(new caravan_router_backward_args());
    set(args.logits(), logits);
    set(args.rows(), rows);
    set(args.weights(), weights);
    set(args.experts(), experts);
    set(args.d_weights(), dWeights);
    set(args.slots(), slots);
    set(args.factors(), factors);
    set(args.d_logits(), dLogits);
    args.scoring(scoring.ordinal()).renormalise(renormalise ? 1 : 0);
    return KernelCall.of(
        "router_backward", args, stream -> Caravan.caravan_router_backward(stream, args));
  }

  /**
   * Balance and z losses of a micro-batch, and their derivatives.
   *
   * @param stats f32 [L, {@link #stats}]
   * @param state step state
   * @param factors f32 [L, E + 1] =
   * @param totals f64 [L, E + 3] +=
   * @param offsets i32 [L, E + 1] or null
   */
  public static KernelCall balance(
      TensorRef stats,
      TensorRef state,
      TensorRef factors,
      TensorRef totals,
      TensorRef offsets,
      Balance definition,
      float weight,
      float zWeight,
      int choices) {
    caravan_balance_args args = zeroed(new caravan_balance_args());
    set(args.stats(), stats);
    set(args.state(), state);
    set(args.factors(), factors);
    set(args.totals(), totals);
    set(args.offsets(), offsets);
    args.weight(weight).z_weight(zWeight).definition(definition.ordinal()).choices(choices);
    return KernelCall.of(
        "balance_forward", args, stream -> Caravan.caravan_balance_forward(stream, args));
  }

  /**
   * Sorts choices by expert.
   *
   * @param experts i32 [T, C]
   * @param offsets i32 [E + 1] =
   * @param assignments i32 [A] =
   * @param slots i32 [T, C] =
   * @param capacity rows that an expert takes of a group; 0 for all
   * @param group tokens of a group; 0 for all
   */
  public static KernelCall sort(
      TensorRef experts,
      TensorRef offsets,
      TensorRef assignments,
      TensorRef slots,
      long capacity,
      long group) {
    return sort(experts, offsets, assignments, slots, capacity, group, 0, 0);
  }

  /**
   * The same of choices that a policy keeps.
   *
   * @param second the policy
   * @param weights f32 [T, C] of the choices
   * @param salt tells layers apart
   * @param state step state where the policy draws, else null
   */
  public static KernelCall sort(
      TensorRef experts,
      TensorRef offsets,
      TensorRef assignments,
      TensorRef slots,
      long capacity,
      long group,
      Second second,
      TensorRef weights,
      int salt,
      TensorRef state) {
    caravan_expert_sort_args args =
        sortArgs(experts, offsets, assignments, slots, capacity, group);
    set(args.weights(), weights);
    set(args.state(), state);
    args.policy(second.policy().ordinal()).threshold((float) second.threshold()).salt(salt);
    return sort(args);
  }

  /**
   * The same of some experts alone; choices of others count as padding.
   *
   * @param first number of the first of them
   * @param inAll how many experts there are; 0 for no others
   */
  public static KernelCall sort(
      TensorRef experts,
      TensorRef offsets,
      TensorRef assignments,
      TensorRef slots,
      long capacity,
      long group,
      long first,
      long inAll) {
    caravan_expert_sort_args args =
        sortArgs(experts, offsets, assignments, slots, capacity, group);
    args.first(Math.toIntExact(first)).in_all(Math.toIntExact(inAll));
    return sort(args);
  }

  private static caravan_expert_sort_args sortArgs(
      TensorRef experts,
      TensorRef offsets,
      TensorRef assignments,
      TensorRef slots,
      long capacity,
      long group) {
    caravan_expert_sort_args args = zeroed(new caravan_expert_sort_args());
    set(args.experts(), experts);
    set(args.offsets(), offsets);
    set(args.assignments(), assignments);
    set(args.slots(), slots);
    args.expert_capacity(capacity).group(group);
    return args;
  }

  private static KernelCall sort(caravan_expert_sort_args args) {
    return KernelCall.of(
        "expert_sort_forward",
        args,
        stream -> Caravan.caravan_expert_sort_forward(stream, args),
        args.workspace(),
        (kind, bytes) -> Caravan.caravan_expert_sort_workspace(kind, args, bytes));
  }

  /**
   * Which rows go to which of the devices that share the experts.
   *
   * @param experts i32 [T, C]
   * @param offsets i32 [E + 1]
   * @param assignments i32 [A]
   * @param slots i32 [T, C]
   * @param sent i32 [R, P] =, assignments by place; -1 at an empty one
   * @param tokens i32 [R, P] =, likewise
   * @param sentExperts i32 [R, P] =, likewise
   * @param places i32 [T, C] =; -1 without a place
   */
  public static KernelCall places(
      TensorRef experts,
      TensorRef offsets,
      TensorRef assignments,
      TensorRef slots,
      TensorRef sent,
      TensorRef tokens,
      TensorRef sentExperts,
      TensorRef places) {
    caravan_expert_places_args args = zeroed(new caravan_expert_places_args());
    set(args.experts(), experts);
    set(args.offsets(), offsets);
    set(args.assignments(), assignments);
    set(args.slots(), slots);
    set(args.sent(), sent);
    set(args.tokens(), tokens);
    set(args.sent_experts(), sentExperts);
    set(args.places(), places);
    return KernelCall.of(
        "expert_places_forward",
        args,
        stream -> Caravan.caravan_expert_places_forward(stream, args));
  }

  /**
   * Each expert's rows times its weights.
   *
   * @param x float [S, K]
   * @param assignments i32 [A], whose rows of x are gathered; null where x has them in order
   * @param choices C
   * @param offsets i32 [E + 1]
   * @param w float [E, N, K], or [E, K, N] when transposed
   * @param out float [A, N] =
   * @param act float [A, F] =, null without an activation
   */
  public static KernelCall product(
      TensorRef x,
      TensorRef assignments,
      int choices,
      TensorRef offsets,
      TensorRef w,
      boolean transposed,
      TensorRef out,
      Activation activation,
      TensorRef act) {
    caravan_grouped_matmul_forward_args args = zeroed(new caravan_grouped_matmul_forward_args());
    set(args.x(), x);
    set(args.assignments(), assignments);
    set(args.offsets(), offsets);
    set(args.w(), w);
    set(args.out(), out);
    set(args.act(), act);
    args.choices(choices).transpose_w(transposed ? 1 : 0).activation(activation.ordinal());
    return KernelCall.of(
        "grouped_matmul_forward",
        args,
        stream -> Caravan.caravan_grouped_matmul_forward(stream, args));
  }

  /**
   * Back through the second product and the activation.
   *
   * @param dY float [T, D]
   * @param w float [E, D, F]
   * @param weights f32 [T, C]
   * @param h float [A, N]
   * @param dH float [A, N] =, may be h
   * @param act float [A, F] =, weighted
   * @param dWeights f32 [A] =
   */
  public static KernelCall productBackward(
      TensorRef dY,
      TensorRef assignments,
      TensorRef offsets,
      TensorRef w,
      TensorRef weights,
      TensorRef h,
      TensorRef dH,
      TensorRef act,
      TensorRef dWeights,
      Activation activation) {
    caravan_grouped_matmul_backward_args args = zeroed(new caravan_grouped_matmul_backward_args());
    set(args.d_y(), dY);
    set(args.assignments(), assignments);
    set(args.offsets(), offsets);
    set(args.w(), w);
    set(args.weights(), weights);
    set(args.h(), h);
    set(args.d_h(), dH);
    set(args.act(), act);
    set(args.d_weights(), dWeights);
    args.activation(activation.ordinal());
    return KernelCall.of(
        "grouped_matmul_backward",
        args,
        stream -> Caravan.caravan_grouped_matmul_backward(stream, args));
  }

  /**
   * {@code c[e] += sum over the rows of e of a_r b_r^T}.
   *
   * @param gatherA rows of a are gathered by assignments
   * @param gatherB rows of b are gathered
   * @param c f32 [E, M, N] +=
   */
  public static KernelCall outer(
      TensorRef a,
      boolean gatherA,
      TensorRef b,
      boolean gatherB,
      TensorRef assignments,
      int choices,
      TensorRef offsets,
      TensorRef c) {
    caravan_grouped_outer_args args = zeroed(new caravan_grouped_outer_args());
    set(args.a(), a);
    set(args.b(), b);
    set(args.assignments(), assignments);
    set(args.offsets(), offsets);
    set(args.c(), c);
    args.choices(choices).gather_a(gatherA ? 1 : 0).gather_b(gatherB ? 1 : 0);
    return KernelCall.of(
        "grouped_outer_forward",
        args,
        stream -> Caravan.caravan_grouped_outer_forward(stream, args));
  }

  /**
   * {@code y[t] = sum over c of weights[t][c] x[slots[t][c]]}.
   *
   * @param x float [A, D]
   * @param slots i32 [T, C]
   * @param weights f32 [T, C]; null for 1
   * @param y float [T, D] =
   */
  public static KernelCall combine(
      TensorRef x, TensorRef slots, TensorRef weights, TensorRef y) {
    caravan_combine_args args = zeroed(new caravan_combine_args());
    set(args.x(), x);
    set(args.slots(), slots);
    set(args.weights(), weights);
    set(args.y(), y);
    return KernelCall.of(
        "combine_forward", args, stream -> Caravan.caravan_combine_forward(stream, args));
  }
}
