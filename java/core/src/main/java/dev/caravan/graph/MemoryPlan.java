package dev.caravan.graph;

import dev.caravan.graph.Windows.Window;
import dev.caravan.ops.Node;
import dev.caravan.ops.Op;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where every activation and temporary of a graph lies in one arena. Tensors that are never alive at
 * the same time share bytes. Nothing is allocated: the plan is exact before the first byte is.
 *
 * <p>Placement is greedy by size (Pisarchyk and Lee 2020, arXiv 2001.03288, section 5.2): the largest
 * block first, each at the lowest offset that is free for as long as it lives.
 */
public final class MemoryPlan {
  /** Alignment of every tensor: a cache line on the CPU, a full bulk-copy unit on CUDA. */
  public static final long ALIGNMENT = 256;

  private final Map<Tensor, Long> offsets = new HashMap<>();
  private final List<List<Long>> scratchOffsets = new ArrayList<>();
  private final Map<Window, Long> windowOffsets = new IdentityHashMap<>();
  private long arenaBytes;
  private long peakActivationBytes;

  private MemoryPlan() {}

  /** A stretch of memory and the nodes between which it is in use. */
  private static final class Block {
    final long bytes;
    final boolean scratch;
    final int first;
    int last;
    long offset = -1;

    Block(long bytes, boolean scratch, int first, int last) {
      this.bytes = align(bytes);
      this.scratch = scratch;
      this.first = first;
      this.last = last;
    }

    boolean meets(Block other) {
      return first <= other.last && other.first <= last;
    }
  }

  /**
   * Plans a graph.
   *
   * @param graph the nodes in the order in which they run
   * @param scratch temporaries of each node, in the same order
   */
  public static MemoryPlan of(Graph graph, List<List<TensorType>> scratch) {
    return of(graph, scratch, List.of());
  }

  /**
   * Plans a graph of ranks that keep parts.
   *
   * @param windows where buckets lie whole for a while; they count among the activations
   */
  static MemoryPlan of(Graph graph, List<List<TensorType>> scratch, List<Window> windows) {
    MemoryPlan plan = new MemoryPlan();
    List<Node> nodes = graph.nodes();
    Map<Tensor, Block> blocks = new HashMap<>();
    List<Block> all = new ArrayList<>();

    Map<Tensor, Integer> lastUse = lastUses(graph);
    for (int i = 0; i < nodes.size(); i++) {
      Node node = nodes.get(i);
      for (int o = 0; o < node.outputs().size(); o++) {
        Tensor output = node.out(o);
        if (output.role() != Role.ACTIVATION) {
          continue;
        }
        int last = Math.max(i, lastUse.getOrDefault(output, i));
        Block block = inherited(node, o, i, blocks);
        if (block == null) {
          block = new Block(output.type().byteSize(), false, i, last);
          all.add(block);
        }
        block.last = Math.max(block.last, last);
        blocks.put(output, block);
      }
    }
    List<List<Block>> scratchBlocks = new ArrayList<>();
    for (int i = 0; i < nodes.size(); i++) {
      List<Block> own = new ArrayList<>();
      for (TensorType type : scratch.get(i)) {
        own.add(new Block(type.byteSize(), true, i, i));
      }
      scratchBlocks.add(own);
      all.addAll(own);
    }
    Map<Window, Block> windowBlocks = new IdentityHashMap<>();
    for (Window window : windows) {
      Block block = new Block(window.bytes(), false, window.first(), window.last());
      windowBlocks.put(window, block);
      all.add(block);
    }
    plan.place(all, nodes.size());
    windowBlocks.forEach((window, block) -> plan.windowOffsets.put(window, block.offset));
    blocks.forEach((tensor, block) -> plan.offsets.put(tensor, block.offset));
    for (List<Block> own : scratchBlocks) {
      plan.scratchOffsets.add(own.stream().map(block -> block.offset).toList());
    }
    return plan;
  }

  private static Map<Tensor, Integer> lastUses(Graph graph) {
    Map<Tensor, Integer> lastUse = new HashMap<>();
    List<Node> nodes = graph.nodes();
    for (int i = 0; i < nodes.size(); i++) {
      for (Tensor input : nodes.get(i).inputs()) {
        lastUse.put(input, i);
      }
    }
    graph.results().forEach(result -> lastUse.put(result, nodes.size()));
    return lastUse;
  }

  /** The block of an input that an output takes over, or null if it needs one of its own. */
  private static Block inherited(Node node, int output, int at, Map<Tensor, Block> blocks) {
    Op op = node.op();
    if (op.viewOf(output) != Op.NO_ALIAS) {
      return blocks.get(node.in(op.viewOf(output)));
    }
    if (op.inPlace(output) != Op.NO_ALIAS) {
      Tensor input = node.in(op.inPlace(output));
      Block block = blocks.get(input);
      if (block.last > at || readers(node, block, blocks) > 1) {
        throw new IllegalStateException(
            node + ": adds in place to " + input + ", which is read later or otherwise");
      }
      return block;
    }
    int reuse = op.mayReuse(output);
    if (reuse != Op.NO_ALIAS && reuse < node.inputs().size()) {
      Tensor input = node.in(reuse);
      Block block = blocks.get(input);
      boolean free =
          block != null
              && block.last == at
              && block.bytes == align(node.out(output).type().byteSize())
              && readers(node, block, blocks) == 1
              && node.outputs().stream().noneMatch(other -> blocks.get(other) == block);
      return free ? block : null;
    }
    return null;
  }

  /** How many of the node's inputs lie in the block: a kernel may overwrite one, not two. */
  private static long readers(Node node, Block block, Map<Tensor, Block> blocks) {
    return node.inputs().stream().filter(input -> blocks.get(input) == block).count();
  }

  private void place(List<Block> all, int steps) {
    List<Block> order = new ArrayList<>(all);
    order.sort(
        Comparator.<Block>comparingLong(block -> -block.bytes).thenComparingInt(b -> b.first));
    List<Block> placed = new ArrayList<>(order.size());
    for (Block block : order) {
      long offset = 0;
      for (Block other : placed) { // ascending by offset
        if (!other.meets(block)) {
          continue;
        }
        if (other.offset >= offset + block.bytes) {
          break;
        }
        offset = Math.max(offset, other.offset + other.bytes);
      }
      block.offset = offset;
      arenaBytes = Math.max(arenaBytes, offset + block.bytes);
      insert(placed, block);
    }
    long[] live = new long[steps + 2];
    for (Block block : all) {
      if (!block.scratch) {
        live[block.first] += block.bytes;
        live[block.last + 1] -= block.bytes;
      }
    }
    long sum = 0;
    for (long change : live) {
      sum += change;
      peakActivationBytes = Math.max(peakActivationBytes, sum);
    }
  }

  private static void insert(List<Block> placed, Block block) {
    int low = 0;
    int high = placed.size();
    while (low < high) {
      int middle = (low + high) / 2;
      if (placed.get(middle).offset <= block.offset) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    placed.add(low, block);
  }

  static long align(long bytes) {
    return Math.addExact(Math.max(bytes, 1), ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  }

  /** Size of the arena. */
  public long arenaBytes() {
    return arenaBytes;
  }

  /** The most bytes of activations alive at once; the rest of the arena is temporaries and gaps. */
  public long peakActivationBytes() {
    return Math.min(peakActivationBytes, arenaBytes);
  }

  /** Offset of an activation in the arena. */
  public long offset(Tensor tensor) {
    Long offset = offsets.get(tensor);
    if (offset == null) {
      throw new IllegalArgumentException(tensor + " has no place in the arena");
    }
    return offset;
  }

  /** Offset of a window in the arena. */
  long offset(Window window) {
    return windowOffsets.get(window);
  }

  /** Offset of a temporary of a node in the arena. */
  public long scratchOffset(int node, int index) {
    return scratchOffsets.get(node).get(index);
  }
}
