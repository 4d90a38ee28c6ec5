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
    documents = bed.ints(2, i -> i * tokens);
    options = Attention.Options.causal((float) (1 / Math.sqrt(d.headDim())));
  }

  KernelCall forward() {
    return forward(outputs(), statistics());
  }

  private KernelCall forward(TensorRef out, TensorRef lse) {
    return Attention.forward(q, k, v, out, lse, documents, documents, null, null, options);
  }

  private TensorRef outputs() {
    return bed.output(t, d.tokens(), d.heads(), d.headDim());
  }

  private TensorRef statistics() {
    return bed.output(F32, d.heads(), d.tokens());
  }

  /** One query behind all tokens, as generation has it. */
  KernelCall decode() {
    return Attention.forward(
        bed.random(t, 1, d.heads(), d.headDim()),
        k,
        v,
        bed.output(t, 1, d.heads(), d.headDim()),
        null,
        bed.ints(2, i -> i),
        documents,
        null,
        null,
        options);
  }

  /** The backward, on the output and the statistics that the forward has just made. */
  KernelCall backward() {
    TensorRef out = outputs();
    TensorRef lse = statistics();
    bed.run(bed.ready(forward(out, lse)));
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
        outputs(),
        bed.output(t, d.tokens(), d.kvHeads(), d.headDim()),
        bed.output(t, d.tokens(), d.kvHeads(), d.headDim()),
        null,
        null,
        options);
  }
}
