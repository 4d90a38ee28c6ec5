package dev.caravan.nn;

import dev.caravan.graph.Graph;
import dev.caravan.ops.Attention;
import dev.caravan.ops.CacheAppend;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;

/**
 * Causal attention of new tokens over all tokens so far, whose keys and values are kept in a cache of
 * one sequence.
 *
 * @param graph where the nodes go
 * @param capacity most tokens that the cache holds, P
 * @param start how many tokens are cached, i32 [1]
 * @param queries where the new tokens begin and end, i32 [2]: 0 and T
 * @param keys where all tokens begin and end, i32 [2]: 0 and start + T
 */
public record CachedAttention(
    Graph graph, long capacity, Tensor start, Tensor queries, Tensor keys) implements Attend {
  @Override
  public Tensor attend(int layer, Tensor q, Tensor k, Tensor v, int window) {
    Tensor allK = append("cache." + layer + ".k", k);
    Tensor allV = append("cache." + layer + ".v", v);
    return graph
        .emit(
            new Attention(PackedAttention.causal(q.dim(2), window), false),
            q,
            allK,
            allV,
            queries,
            keys)
        .get(0);
  }

  @Override
  public Tensor attend(
      int layer, Tensor q, Tensor k, Tensor v, Tensor positions, int maxDistance) {
    Tensor allK = append("cache." + layer + ".k", k);
    Tensor allV = append("cache." + layer + ".v", v);
    Attention op = new Attention(PackedAttention.relative(maxDistance), true);
    return graph.emit(op, q, allK, allV, queries, keys, positions).get(0);
  }

  private Tensor append(String name, Tensor x) {
    TensorType type = new TensorType(x.type().dtype(), capacity, x.dim(1), x.dim(2));
    return graph.one(new CacheAppend(), x, graph.leaf(name, type, Role.STATE), start);
  }
}
