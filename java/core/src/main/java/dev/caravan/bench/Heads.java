package dev.caravan.bench;

import static dev.caravan.kernels.DType.F32;

import dev.caravan.kernels.Attention;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.TensorRef;

/** Causal attention of one document, its tensors in a bed. */
final class Heads {
  private final Bed bed;
  private final Dims d;
  private final DType t;
  private final TensorRef q;
  private final TensorRef k;
  private final TensorRef v;
  private final TensorRef out;
  private final TensorRef lse;
  private final TensorRef documents;
  private final Attention.Options options;

  Heads(Bed bed, Dims d, DType t) {
    this.bed = bed;
    this.d = d;
    this.t = t;
    int tokens = d.tokens();
    q = bed.random(t, tokens, d.heads(), d.headDim());
    k = bed.random(t, tokens, d.kvHeads(), d.headDim());
    v = bed.random(t, tokens, d.kvHeads(), d.headDim());
    out = bed.output(t, tokens, d.heads(), d.headDim());
    lse = bed.output(F32, d.heads(), tokens);
    documents = bed.ints(2, i -> i * tokens);
    options = Attention.Options.causal((float) (1 / Math.sqrt(d.headDim())));
  }

  KernelCall forward() {
    return Attention.forward(q, k, v, out, lse, documents, documents, null, null, options);
  }

  /** The backward, on the output and the statistics that the forward has just made. */
  KernelCall backward() {
    bed.run(bed.ready(forward()));
    return Attention.backward(
        bed.random(t, d.tokens(), d.heads(), d.headDim()),
        q,
        k,
        v,
        out,
        lse,
        documents,
        documents,
        null,
        null,
        bed.output(t, d.tokens(), d.heads(), d.headDim()),
        bed.output(t, d.tokens(), d.kvHeads(), d.headDim()),
        bed.output(t, d.tokens(), d.kvHeads(), d.headDim()),
        null,
        null,
        options);
  }
}
