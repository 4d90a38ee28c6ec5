package dev.caravan.graph;

import dev.caravan.kernels.DType;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every op and its gradient by the CPU's kernels against the reference, both ways from the same
 * bits.
 */
class OpsOnDeviceTest {
  static List<OpCase> float32() {
    return OpCases.all(DType.F32);
  }

  static List<OpCase> bfloat16() {
    return OpCases.all(DType.BF16);
  }

  @ParameterizedTest
  @MethodSource("float32")
  void agreeWithTheReference(OpCase one) {
    check(one, DType.F32);
  }

  @ParameterizedTest
  @MethodSource("bfloat16")
  void agreeWithTheReferenceInBfloat16(OpCase one) {
    check(one, DType.BF16);
  }

  /** An expert that takes two rows of a group sums few terms, some of them large. */
  static List<OpCase> groups() {
    return OpCases.built(ExpertCases.groups(), DType.BF16);
  }

  @ParameterizedTest
  @MethodSource("groups")
  void groupsAreAsGoodAsAPlainImplementationInBfloat16(OpCase one) {
    check(one, (graph, values) -> Agreement.checkStored(graph, values, Agreement.ofOneOp(DType.BF16)));
  }

  private static void check(OpCase one, DType storage) {
    check(one, (graph, values) -> Agreement.check(graph, values, Agreement.ofOneOp(storage)));
  }

  private static void check(OpCase one, BiConsumer<Graph, Values> agree) {
    Graph lean = Autodiff.differentiate(one.graph());
    Values values = one.values().copy().fillGradients(lean, new Random(7));
    agree.accept(lean, values);

    one.outputs().forEach(one.graph()::result);
    Graph withOutputs = Autodiff.differentiate(one.graph());
    agree.accept(withOutputs, values);
  }
}
