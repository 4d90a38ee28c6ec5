package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.ops.AllReduce;
import dev.caravan.ops.GatherWeights;
import dev.caravan.ops.GradientWindow;
import dev.caravan.ops.Join;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.ops.ReduceScatter;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The last pass before scheduling: makes a graph one of a data-parallel group. Exchanges are begun as
 * early as they can be and waited for as late, so that they run beside the model's own work.
 *
 * <ul>
 *   <li>Gradients of a block are summed as soon as their last part has been added: to all ranks, or where
 *       ranks update parts, each part to its rank.
 *   <li>Where gradients are kept in parts, the block's whole ones live in a window of the arena, and
 *       what is kept is added to when the next block's are complete.
 *   <li>Where weights are kept in parts, a block's are gathered while the block before it runs.
 * </ul>
 *
 * <p>With one rank nothing is left to do.
 */
public final class Shard {
  /** So many other buckets between two uses of a bucket close its window. */
  private static final int APART = 2;

  private final Graph graph;
  private final int ranks;
  private final Sharding sharding;
  private final Division experts;
  private final Map<Tensor, Tensor> roots;
  private final List<List<Tensor>> buckets;
  private final Map<String, Integer> bucketOf = new HashMap<>();
  private final Map<Integer, List<Runnable>> before = new HashMap<>();
  private final Map<Integer, List<Runnable>> behind = new HashMap<>();
  private final Map<Tensor, Tensor> sums = new HashMap<>(); // of each gradient, its latest tensor
  private Graph result;
  private String scope = "";
  private int block = Graph.NO_BLOCK;
  private int tags;

  /** A stretch of the graph in which a bucket is used. */
  private static final class Use {
    private final int bucket;
    private final int first;
    private int last;

    private Use(int bucket, int first) {
      this.bucket = bucket;
      this.first = first;
      last = first;
    }
  }

  private Shard(Graph graph, int ranks, Sharding sharding, Division experts) {
    this.experts = experts;
    this.graph = graph;
    this.ranks = ranks;
    this.sharding = sharding;
    roots = Plan.roots(graph);
    buckets = Buckets.of(graph, experts);
    for (int b = 0; b < buckets.size(); b++) {
      for (Tensor parameter : buckets.get(b)) {
        bucketOf.put(parameter.name(), b);
      }
    }
  }

  /** The graph of one of {@code ranks} data-parallel ranks that keep everything whole. */
  public static Graph apply(Graph graph, int ranks) {
    return apply(graph, ranks, Sharding.NONE);
  }

  /** The graph of one of {@code ranks} data-parallel ranks. A graph without gradients only gathers. */
  public static Graph apply(Graph graph, int ranks, Sharding sharding) {
    return apply(graph, ranks, sharding, Division.NONE);
  }

  /**
   * The same of a rank that has some of the experts.
   *
   * @param experts how they are divided: as many fewer ranks have the same ones
   */
  public static Graph apply(Graph graph, int ranks, Sharding sharding, Division experts) {
    return ranks == 1 ? graph : new Shard(graph, ranks, sharding, experts).apply();
  }

  private Graph apply() {
    if (sharding.weights()) {
      gatherWeights();
    }
    if (!graph.leaves(Role.GRADIENT).isEmpty()) {
      if (sharding.gradients()) {
        keepParts();
      } else {
        reduceWhole();
      }
    }
    result = Graph.withLeavesOf(graph);
    List<Node> nodes = graph.nodes();
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i);
      scope = node.scope();
      block = node.block();
      before.getOrDefault(i, List.of()).forEach(Runnable::run);
      result.keep(node);
      for (Tensor output : node.outputs()) {
        if (output.role() == Role.GRADIENT) {
          sums.put(roots.get(output), output);
        }
      }
      behind.getOrDefault(i, List.of()).forEach(Runnable::run);
    }
    return result;
  }

  private boolean experts(int bucket) {
    return experts.cuts(buckets.get(bucket).get(0).name());
  }

  /** The ranks that have the same weights. */
  private Axis axis(int bucket) {
    return experts(bucket) ? Axis.REPLICA : Axis.DATA;
  }

  private int ranks(int bucket) {
    return experts(bucket) ? ranks / experts.ranks() : ranks;
  }

  private boolean alone(Use use) {
    return ranks(use.bucket) == 1;
  }

  private static void at(Map<Integer, List<Runnable>> when, int node, Runnable what) {
    when.computeIfAbsent(node, i -> new ArrayList<>()).add(what);
  }

  /** Stretches of the graph in which buckets are used by tensors of a role, by their first node. */
  private List<Use> uses(Role role, int apart) {
    List<Use> uses = new ArrayList<>();
    Map<Integer, Use> open = new HashMap<>();
    Map<Integer, Integer> others = new HashMap<>(); // uses begun when a bucket was last used
    for (int i = 0; i < graph.nodes().size(); i++) {
      for (int bucket : touched(graph.nodes().get(i), role)) {
        Use use = open.get(bucket);
        if (use == null || uses.size() - others.get(bucket) >= apart) {
          use = new Use(bucket, i);
          open.put(bucket, use);
          uses.add(use);
        }
        use.last = i;
        others.put(bucket, uses.size());
      }
    }
    return uses;
  }

  private List<Integer> touched(Node node, Role role) {
    List<Integer> touched = new ArrayList<>();
    List<Tensor> tensors = new ArrayList<>(node.inputs());
    tensors.addAll(node.outputs());
    for (Tensor tensor : tensors) {
      if (tensor.role() == role) {
        Integer bucket =
            bucketOf.get(Windows.parameter(roots.getOrDefault(tensor, tensor)));
        if (!touched.contains(bucket)) {
          touched.add(bucket);
        }
      }
    }
    return touched;
  }

  /** Each bucket is waited for at its first use, and then the next is begun. */
  private void gatherWeights() {
    List<Use> uses = uses(Role.PARAMETER, APART);
    uses.removeIf(this::alone);
    int[] tag = new int[uses.size()];
    for (int i = 0; i < uses.size(); i++) {
      tag[i] = tags++;
    }
    for (int i = 0; i < uses.size(); i++) {
      int place = i;
      if (i == 0) {
        at(before, 0, () -> gather(uses.get(0), tag[0]));
      }
      at(
          before,
          uses.get(i).first,
          () -> {
            emit(
                new Join(axis(uses.get(place).bucket), tag[place]),
                buckets.get(uses.get(place).bucket));
            if (place + 1 < uses.size()) {
              gather(uses.get(place + 1), tag[place + 1]);
            }
          });
    }
  }

  private void gather(Use use, int tag) {
    emit(new GatherWeights(axis(use.bucket), ranks(use.bucket), tag), buckets.get(use.bucket));
  }

  /** Gradients in a window, summed and kept when complete. */
  private void keepParts() {
    List<Use> uses = new ArrayList<>(uses(Role.GRADIENT, APART));
    uses.removeIf(this::alone);
    uses.sort((a, b) -> Integer.compare(a.last, b.last));
    for (int i = 0; i < uses.size(); i++) {
      Use use = uses.get(i);
      int tag = tags++;
      Use earlier = i == 0 ? null : uses.get(i - 1);
      at(before, use.first, () -> advance(new GradientWindow.Open(), use.bucket));
      at(
          behind,
          use.last,
          () -> {
            if (earlier != null) {
              keep(earlier.bucket, tag - 1);
            }
            advance(
                new ReduceScatter(axis(use.bucket), ranks(use.bucket), tag), use.bucket);
          });
    }
    if (!uses.isEmpty()) {
      int last = uses.get(uses.size() - 1).bucket;
      int tag = tags - 1;
      at(behind, graph.nodes().size() - 1, () -> keep(last, tag));
    }
  }

  private void keep(int bucket, int tag) {
    advance(new Join(axis(bucket), tag), bucket);
    advance(new GradientWindow.Close(), bucket);
  }

  /** Whole gradients, summed when complete: to all ranks or each part to its rank. */
  private void reduceWhole() {
    Map<Integer, Integer> complete = new HashMap<>();
    for (Use use : uses(Role.GRADIENT, Integer.MAX_VALUE)) {
      complete.put(use.bucket, use.last);
    }
    for (int b = buckets.size() - 1; b >= 0; b--) {
      int bucket = b;
      if (ranks(bucket) == 1) {
        continue;
      }
      Op op =
          sharding.updates()
              ? new ReduceScatter(axis(bucket), ranks(bucket), tags++)
              : new AllReduce(axis(bucket), ranks(bucket), true);
      int last = complete.getOrDefault(bucket, graph.nodes().size() - 1);
      at(behind, last, () -> advance(op, bucket));
    }
    at(
        behind,
        graph.nodes().size() - 1,
        () -> {
          scope = "";
          block = Graph.NO_BLOCK;
          for (Axis axis : List.of(Axis.DATA, Axis.REPLICA)) {
            List<Tensor> all = new ArrayList<>();
            for (int b = 0; b < buckets.size(); b++) {
              if (axis(b) == axis && ranks(b) > 1) {
                all.addAll(gradients(b));
              }
            }
            if (!all.isEmpty()) {
              emit(new Join(axis, Join.ALL), all);
            }
          }
        });
  }

  private List<Tensor> gradients(int bucket) {
    List<Tensor> gradients = new ArrayList<>();
    for (Tensor parameter : buckets.get(bucket)) {
      Tensor leaf = graph.leaf(Autodiff.gradientName(parameter.name()));
      gradients.add(sums.getOrDefault(leaf, leaf));
    }
    return gradients;
  }

  /** Applies an op to the gradients of a bucket, in place. */
  private void advance(Op op, int bucket) {
    List<Tensor> inputs = gradients(bucket);
    List<Tensor> outputs = emit(op, inputs);
    for (int i = 0; i < inputs.size(); i++) {
      sums.put(graph.leaf(Autodiff.gradientName(buckets.get(bucket).get(i).name())), outputs.get(i));
    }
  }

  private List<Tensor> emit(Op op, List<Tensor> inputs) {
    return result.emit(op, inputs, scope, block).outputs();
  }
}
