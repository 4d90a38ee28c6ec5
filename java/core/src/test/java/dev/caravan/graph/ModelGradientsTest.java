package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.caravan.kernels.DType;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of whole models against finite differences, in float64. */
class ModelGradientsTest {
  static List<TinyLlama> models() {
    return TinyLlama.all();
  }

  @ParameterizedTest
  @MethodSource("models")
  void agreeWithFiniteDifferences(TinyLlama model) {
    Graph forward = model.score(DType.F32);
    Graph trained = model.train(DType.F32, Recompute.Policy.NONE);
    GradientCheck.check(forward, trained, model.values(DType.F32, 11), new Random(12));
  }

  @ParameterizedTest
  @MethodSource("models")
  void areTheSameWhateverIsComputedAgain(TinyLlama model) {
    Values kept = model.values(DType.F32, 13);
    new ReferenceExecutor(model.train(DType.F32, Recompute.Policy.NONE), kept).run();
    for (Recompute.Policy policy : TinyLlama.POLICIES) {
      Values again = model.values(DType.F32, 13);
      Graph graph = model.train(DType.F32, policy);
      new ReferenceExecutor(graph, again).run();
      for (Tensor gradient : graph.leaves(Role.GRADIENT)) {
        assertArrayEquals(
            kept.get(gradient.name()), again.get(gradient.name()), policy + ": " + gradient.name());
      }
    }
  }
}
