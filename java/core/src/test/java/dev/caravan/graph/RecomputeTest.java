package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Recompute.Policy;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class RecomputeTest {
  private static final TinyLlama MODEL = TinyLlama.all().get(0);
  private static final int LAYERS = MODEL.config().layers();

  /** Nodes of the forward part: the loss comes after them. */
  private static final int FORWARD = MODEL.score(DType.F32).nodes().size() - 1;

  private static Graph graph(Policy policy) {
    return MODEL.train(DType.F32, policy);
  }

  private static List<Node> backward(Graph graph) {
    return graph.nodes().subList(FORWARD, graph.nodes().size());
  }

  private static List<Node> again(Graph graph) {
    return graph.nodes().stream().filter(node -> node.scope().endsWith(".again")).toList();
  }

  /**
   * Activations of the forward part that the backward part reads, views counted as what they view.
   */
  private static Set<Tensor> kept(Graph graph) {
    Set<Tensor> made = new HashSet<>();
    graph.nodes().subList(0, FORWARD).forEach(node -> made.addAll(node.outputs()));
    Set<Tensor> kept = new HashSet<>();
    for (Node node : backward(graph)) {
      for (Tensor input : node.inputs()) {
        if (made.contains(input) && input.role() == Role.ACTIVATION) {
          kept.add(input);
        }
      }
    }
    return kept;
  }

  private static Set<String> ops(List<Node> nodes) {
    return nodes.stream()
        .map(node -> node.op().name())
        .collect(Collectors.toCollection(TreeSet::new));
  }

  @Test
  void nothingIsComputedAgainWithoutAPolicy() {
    assertTrue(again(graph(Policy.NONE)).isEmpty());
  }

  @Test
  void selectiveComputesOnlyCheapOpsAgain() {
    Graph graph = graph(Policy.SELECTIVE);
    assertEquals(Set.of("rmsnorm", "rope", "swiglu", "view"), ops(again(graph)));
    assertTrue(again(graph).stream().allMatch(node -> node.op().cheap()));
    assertEquals(graph(Policy.NONE).flops(), graph.flops(), "no product is computed twice");
  }

  @Test
  void selectiveKeepsNoOutputOfACheapOp() {
    Set<Tensor> kept = kept(graph(Policy.SELECTIVE));
    for (Node node : graph(Policy.SELECTIVE).nodes().subList(0, FORWARD)) {
      if (node.op().cheap() && node.block() != Graph.NO_BLOCK) {
        node.outputs().forEach(output -> assertTrue(!kept.contains(output), output.toString()));
      }
    }
  }

  @Test
  void fullKeepsOnlyTheBordersOfBlocks() {
    Graph graph = graph(Policy.FULL);
    Set<Tensor> kept = kept(graph);
    Set<Tensor> expected = new HashSet<>();
    List<Node> forward = graph.nodes().subList(0, FORWARD);
    for (int i = 0; i < FORWARD; i++) {
      boolean last = i + 1 == FORWARD || forward.get(i + 1).block() != forward.get(i).block();
      if (last) {
        expected.addAll(forward.get(i).outputs()); // the embedding, each block, the final norm
      }
    }
    assertEquals(expected, kept);
    assertEquals(1 + LAYERS + 2, kept.size(), "the final norm has two outputs");
  }

  @Test
  void fullComputesEveryBlockAgainButForItsOutput() {
    Graph graph = graph(Policy.FULL);
    for (int layer = 0; layer < LAYERS; layer++) {
      int block = layer;
      List<Node> twins = again(graph).stream().filter(node -> node.block() == block).toList();
      List<Node> nodes =
          graph.nodes().subList(0, FORWARD).stream().filter(node -> node.block() == block).toList();
      // The product behind the gate and the residual add make the border, which is kept.
      assertEquals(nodes.size() - 2, twins.size());
    }
  }

  @Test
  void someBlocksAreTheFirstOnes() {
    Graph graph = graph(new Policy(false, 2));
    assertEquals(Set.of(0, 1), again(graph).stream().map(Node::block).collect(Collectors.toSet()));
    assertTrue(ops(again(graph)).contains("attention"));
  }

  @Test
  void aBlockIsComputedAgainJustBeforeItIsNeeded() {
    Graph graph = graph(Policy.FULL);
    List<Integer> blocks =
        backward(graph).stream().map(Node::block).filter(block -> block >= 0).toList();
    for (int i = 1; i < blocks.size(); i++) {
      assertTrue(blocks.get(i) <= blocks.get(i - 1), "blocks come back in falling order");
    }
  }

  @Test
  void eachNodeIsComputedAgainAtMostOnce() {
    for (Policy policy : TinyLlama.POLICIES) {
      Set<List<Object>> seen = new HashSet<>();
      for (Node node : again(graph(policy))) {
        assertTrue(seen.add(List.of(node.op(), node.inputs())), policy + " " + node);
      }
    }
  }

  @Test
  void theForwardPartIsTheSameUnderAllPolicies() {
    List<String> plain = names(graph(Policy.NONE));
    for (Policy policy : TinyLlama.POLICIES) {
      assertEquals(plain, names(graph(policy)), policy.toString());
    }
  }

  private static List<String> names(Graph graph) {
    return graph.nodes().subList(0, FORWARD).stream().map(Node::toString).toList();
  }
}
