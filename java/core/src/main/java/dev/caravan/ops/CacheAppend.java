package dev.caravan.ops;

import dev.caravan.kernels.Attention;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * Writes new keys or values behind the cached ones. Inputs: x [R, K, N], cache [P, K, N], written in
 * place, start i32 [1]: how many are cached. Output: cache.
 */
public record CacheAppend() implements Op {
  @Override
  public String name() {
    return "cache_append";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("cache", in.get(1), Shapes.ANY, Shapes.ANY, Shapes.ANY);
    Shapes.need("x", in.get(0), Shapes.ANY, in.get(1).dim(1), in.get(1).dim(2));
    Shapes.need("start", in.get(2), 1);
    return List.of(in.get(1).type());
  }

  @Override
  public int inPlace(int output) {
    return 1;
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            Attention.cacheAppend(
                memory.ref(node.in(0)), memory.ref(node.in(1)), memory.ref(node.in(2)))));
  }
}
