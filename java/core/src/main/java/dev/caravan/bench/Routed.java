package dev.caravan.bench;

import static dev.caravan.kernels.DType.F32;
import static dev.caravan.kernels.DType.F64;
import static dev.caravan.kernels.DType.I32;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Activation;
import dev.caravan.kernels.Experts.Scoring;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;

/**
 * A layer of sparse experts, its tensors in a bed: tokens are routed by random logits, and whatever comes
 * before a call runs when the call is prepared.
 */
final class Routed {
  /** Devices that share the experts, where rows are placed. */
  static final int DEVICES = 2;

  private final Bed bed;
  private final Dims d;
  private final DType t;
  private final TensorRef logits;
  private final TensorRef weights;
  private final TensorRef experts;
  private final TensorRef stats;
  private final TensorRef offsets;
  private final TensorRef assignments;
  private final TensorRef slots;

  Routed(Bed bed, Dims d, DType t) {
    this.bed = bed;
    this.d = d;
    this.t = t;
    logits = bed.random(F32, d.tokens(), d.experts());
    weights = bed.output(F32, d.tokens(), d.choices());
    experts = bed.output(I32, d.tokens(), d.choices());
    stats = bed.output(F32, Experts.stats(d.experts()));
    offsets = bed.output(I32, d.experts() + 1);
    assignments = bed.output(I32, d.expertRows());
    slots = bed.output(I32, d.tokens(), d.choices());
    bed.run(bed.ready(router()));
    bed.run(bed.ready(sort()));
  }

  /** Places of each device: a quarter more than even choices take. */
  static int places(Dims d) {
    return (d.expertRows() * 5 + 4 * DEVICES - 1) / (4 * DEVICES);
  }

  KernelCall router() {
    return Experts.router(logits, null, weights, experts, stats, Scoring.SOFTMAX, true);
  }

  KernelCall routerBackward() {
    return Experts.routerBackward(
        logits,
        null,
        weights,
        experts,
        bed.random(F32, d.expertRows()),
        slots,
        null,
        bed.output(F32, d.tokens(), d.experts()),
        Scoring.SOFTMAX,
        true);
  }

  KernelCall balance() {
    int e = d.experts();
    return Experts.balance(
        TensorRef.of(stats.address(), F32, 1, Experts.stats(e)),
        bed.state(),
        bed.output(F32, 1, e + 1),
        bed.sum(F64, 1, e + 3),
        TensorRef.of(offsets.address(), I32, 1, e + 1),
        Experts.Balance.FIRST,
        0.01f,
        0.001f,
        d.choices());
  }

  KernelCall sort() {
    return Experts.sort(experts, offsets, assignments, slots, 0, 0);
  }

  KernelCall places() {
    int each = places(d);
    return Experts.places(
        experts,
        offsets,
        assignments,
        slots,
        bed.output(I32, DEVICES, each),
        bed.output(I32, DEVICES, each),
        bed.output(I32, DEVICES, each),
        bed.output(I32, d.tokens(), d.choices()));
  }

  /** The first product: rows gathered, SwiGLU behind it. */
  KernelCall product() {
    return Experts.product(
        bed.random(t, d.tokens(), d.width()),
        assignments,
        d.choices(),
        offsets,
        bed.random(t, d.experts(), 2L * d.expertFfn(), d.width()),
        false,
        bed.output(t, d.expertRows(), 2L * d.expertFfn()),
        Activation.SWIGLU,
        bed.output(t, d.expertRows(), d.expertFfn()));
  }

  /** Back through the second product and SwiGLU. */
  KernelCall productBackward() {
    return Experts.productBackward(
        bed.random(t, d.tokens(), d.width()),
        assignments,
        offsets,
        bed.random(t, d.experts(), d.width(), d.expertFfn()),
        weights,
        bed.random(t, d.expertRows(), 2L * d.expertFfn()),
        bed.output(t, d.expertRows(), 2L * d.expertFfn()),
        bed.output(t, d.expertRows(), d.expertFfn()),
        bed.output(F32, d.expertRows()),
        Activation.SWIGLU);
  }

  /** The gradient of the first product's weights. */
  KernelCall outer() {
    return Experts.outer(
        bed.random(t, d.expertRows(), 2L * d.expertFfn()),
        false,
        bed.random(t, d.tokens(), d.width()),
        true,
        assignments,
        d.choices(),
        offsets,
        bed.sum(F32, d.experts(), 2L * d.expertFfn(), d.width()));
  }

  KernelCall combine() {
    return Experts.combine(
        bed.random(t, d.expertRows(), d.width()),
        slots,
        weights,
        bed.output(t, d.tokens(), d.width()));
  }
}
