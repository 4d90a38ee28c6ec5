package dev.caravan.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Graph;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.StepState;
import dev.caravan.ops.Attention;
import dev.caravan.ops.MatMul;
import dev.caravan.ops.Node;
import dev.caravan.ops.RmsNorm;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Test;

class LayersTest {
  private static final TensorType BF16 = new TensorType(DType.BF16, 6, 8);

  private final Graph graph = new Graph();
  private final Inputs in = Inputs.packed(graph, 6, 3);
  private final Layers nn = new Layers(graph, DType.BF16, in.tokens());
  private final Tensor x = nn.embedding(in.ids(), nn.parameter("table", 11, 8));

  private List<String> names() {
    return graph.nodes().stream().map(node -> node.op().name()).toList();
  }

  private Node last() {
    return graph.nodes().get(graph.nodes().size() - 1);
  }

  @Test
  void weightsAndActivationsAreOfTheStorage() {
    assertEquals(BF16, x.type());
    assertEquals(new TensorType(DType.BF16, 11, 8), nn.parameter("table", 11, 8).type());
    assertEquals(new TensorType(DType.BF16, 6, 5), nn.linear(x, nn.parameter("w", 5, 8)).type());
    assertEquals(BF16, nn.swiglu(x, x).type());
    assertEquals(BF16, nn.add(x, x).type());
    assertEquals(BF16, nn.rmsNorm(x, nn.parameter("gain", 8), 1e-6).type());
  }

  @Test
  void aWeightOfOneNameIsOneWeight() {
    assertSame(nn.parameter("table", 11, 8), nn.parameter("table", 11, 8));
    assertThrows(IllegalArgumentException.class, () -> nn.parameter("table", 8, 11));
  }

  @Test
  void linearLayersWorkOnTheRowsInUseAndAddABiasWhereThereIsOne() {
    nn.linear(x, nn.parameter("w", 5, 8), null);
    assertEquals(List.of("embedding", "matmul"), names());
    assertEquals(MatMul.linear(true, DType.BF16), last().op());
    assertSame(in.tokens(), last().in(2));
    nn.linear(x, nn.parameter("w", 5, 8), nn.parameter("b", 5));
    assertEquals(List.of("embedding", "matmul", "matmul", "bias"), names());
  }

  @Test
  void headsAndMergeAreViewsOfTheSameRows() {
    Tensor heads = nn.heads(x, 4);
    assertEquals(new TensorType(DType.BF16, 6, 4, 2), heads.type());
    assertEquals(BF16, nn.merge(heads).type());
    assertThrows(IllegalArgumentException.class, () -> nn.heads(x, 3));
  }

  @Test
  void aNormIsNotFused() {
    nn.rmsNorm(x, nn.parameter("gain", 8), 1e-6);
    assertEquals(new RmsNorm(1e-6f, false), last().op());
  }

  @Test
  void theLossIsFloat32WhateverTheStorage() {
    Tensor nll = nn.crossEntropy(x, nn.parameter("table", 11, 8), in, 4);
    assertEquals(TensorType.f32(6), nll.type());
  }

  @Test
  void aWindowCountsTheTokenItself() {
    Tensor q = nn.heads(x, 4);
    new PackedAttention(graph, in.documents()).attend(0, q, q, q, 0);
    assertEquals(-1, ((Attention) last().op()).options().windowLeft(), "all of them");
    new PackedAttention(graph, in.documents()).attend(0, q, q, q, 3);
    Attention windowed = (Attention) last().op();
    assertEquals(2, windowed.options().windowLeft(), "itself and two before it");
    assertTrue(windowed.options().causal());
    assertEquals(1 / Math.sqrt(2), windowed.options().scale(), 1e-7);
  }

  @Test
  void eachLayerHasCachesOfItsOwn() {
    Tensor start = graph.leaf("start", TensorType.i32(1), Role.INPUT);
    Tensor bounds = graph.leaf("bounds", TensorType.i32(2), Role.INPUT);
    CachedAttention cached = new CachedAttention(graph, 20, start, bounds, bounds);
    Tensor q = nn.heads(x, 4);
    Tensor kv = nn.heads(nn.linear(x, nn.parameter("k", 4, 8)), 2);
    cached.attend(0, q, kv, kv, 0);
    cached.attend(1, q, kv, kv, 5);
    assertEquals(4, ((Attention) last().op()).options().windowLeft());
    assertEquals(
        List.of("cache.0.k", "cache.0.v", "cache.1.k", "cache.1.v"),
        graph.leaves(Role.STATE).stream()
            .map(Tensor::name)
            .filter(name -> name.startsWith("cache"))
            .toList());
    assertEquals(new TensorType(DType.BF16, 20, 2, 2), graph.leaf("cache.1.v").type());
  }

  @Test
  void theStepStateFitsIntoItsLeaf() {
    assertTrue(StepState.bytes() <= Inputs.STATE_BYTES);
    assertEquals(Inputs.STATE_BYTES, in.state().type().byteSize());
  }

  @Test
  void documentsHaveOneBoundMoreThanTheirNumber() {
    assertEquals(TensorType.i32(4), in.documents().type());
  }
}
