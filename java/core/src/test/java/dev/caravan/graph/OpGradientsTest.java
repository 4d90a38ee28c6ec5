package dev.caravan.graph;

import dev.caravan.kernels.DType;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The gradient of every op against finite differences, in float64. */
class OpGradientsTest {
  static List<OpCase> cases() {
    return OpCases.all(DType.F32);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void agreeWithFiniteDifferences(OpCase one) {
    GradientCheck.check(one.graph(), one.values(), new Random(5));
  }
}
