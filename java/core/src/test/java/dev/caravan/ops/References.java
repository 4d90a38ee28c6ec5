package dev.caravan.ops;

import java.util.HashMap;
import java.util.Map;

/**
 * Every op in float64, written from its formula in caravan.h with plain loops: what kernels,
 * gradients and plans are compared with. Integers (ids, positions, counts) are held in doubles,
 * too. A step state is the doubles that graphs use, {@link #INV_TARGETS}, {@link #LOSS_SUM} and
 * {@link #INV_TOKENS}.
 *
 * <p>An op that adds in place gets a new array here. So a plan that lets anybody see a sum too
 * early or too late gives other values than the reference.
 */
public final class References {
  /** Place of 1 / target tokens in the value of a step state. */
  public static final int INV_TARGETS = 0;

  /** Place of the sum of the loss in the value of a step state. */
  public static final int LOSS_SUM = 1;

  /** Place of 1 / tokens of the step. */
  public static final int INV_TOKENS = 2;

  /** One op in float64. */
  @FunctionalInterface
  interface Reference<O extends Op> {
    /**
     * Computes.
     *
     * @param node where the shapes are
     * @param in values of the inputs, row-major; not changed, but for a step state and the routers' records
     * @return values of the outputs
     */
    double[][] values(O op, Node node, double[][] in);
  }

  private static final Map<Class<? extends Op>, Reference<?>> ALL = new HashMap<>();

  static {
    put(Add.class, RowReferences::add);
    put(AllReduce.class, RowReferences::allReduce);
    put(Join.class, (op, node, in) -> in);
    put(ToParts.class, (op, node, in) -> new double[][] {in[0]});
    put(SumParts.class, RowReferences::sumParts);
    put(Bias.class, RowReferences::bias);
    put(Bias.Backward.class, RowReferences::biasBackward);
    put(Embedding.class, RowReferences::embedding);
    put(Embedding.Backward.class, RowReferences::embeddingBackward);
    put(Gather.class, RowReferences::gather);
    put(SumRows.class, RowReferences::sumRows);
    put(ExpertPlaces.class, RowReferences::places);
    put(CacheAppend.class, RowReferences::cacheAppend);
    put(View.class, (op, node, in) -> new double[][] {in[0]});
    put(MatMul.class, MatMulReference::product);
    put(RmsNorm.class, RmsNormReference::forward);
    put(RmsNorm.Backward.class, RmsNormReference::backward);
    put(RowDot.class, RmsNormReference::dots);
    put(RmsNormPart.class, RmsNormReference::forwardOfPart);
    put(RmsNormPart.Backward.class, RmsNormReference::backwardOfPart);
    put(Rope.class, RopeReference::turn);
    put(Attention.class, AttentionReference::forward);
    put(Attention.Backward.class, AttentionReference::backward);
    put(Glu.class, GluReference::forward);
    put(Glu.Backward.class, GluReference::backward);
    put(LinearCrossEntropy.class, LinearCrossEntropyReference::loss);
    put(LinearCrossEntropy.Gradient.class, LinearCrossEntropyReference::gradient);
    put(Router.class, RouterReference::forward);
    put(Router.Backward.class, RouterReference::backward);
    put(ExpertLayer.class, ExpertReference::forward);
    put(ExpertLayer.Backward.class, ExpertReference::backward);
    put(Balance.class, ExpertReference::balance);
    put(Probes.Load.class, (op, node, in) -> new double[][] {in[0].clone()});
    put(Probes.Collect.class, (op, node, in) -> new double[][] {RowReferences.sum(in[0], in[1])});
    put(Probes.Dot.class, Probes.Dot::value);
  }

  private References() {}

  private static <O extends Op> void put(Class<O> type, Reference<O> reference) {
    ALL.put(type, reference);
  }

  /** Values of the outputs of a node. */
  public static double[][] values(Node node, double[][] in) {
    Reference<?> reference = ALL.get(node.op().getClass());
    if (reference == null) {
      throw new IllegalArgumentException(node + ": has no reference");
    }
    return apply(reference, node, in);
  }

  private static <O extends Op> double[][] apply(Reference<O> reference, Node node, double[][] in) {
    @SuppressWarnings("unchecked") // put() pairs a class with a reference of its own
    O op = (O) node.op();
    return reference.values(op, node, in);
  }

  /** What a node adds to the loss by its side: the losses of balance. */
  public static double sideLoss(Node node, double[] output) {
    return node.op() instanceof Balance balance
        ? ExpertReference.loss(balance, node, output)
        : 0;
  }

  /** Extent of one axis of an input. */
  static int dim(Node node, int input, int axis) {
    return Math.toIntExact(node.in(input).dim(axis));
  }
}
