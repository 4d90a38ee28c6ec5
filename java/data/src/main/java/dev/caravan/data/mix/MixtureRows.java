package dev.caravan.data.mix;

import dev.caravan.data.PairSet;
import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.MixtureOrder;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ForkJoinPool;
import java.util.stream.IntStream;

/**
 * The endless sequence of a mixture's examples as rows: row k is example k. They are made a window
 * at a time on all cores, the next windows ahead of need, or found in a cache; the latest stay on
 * the heap up to a share of it. An example that has nothing to teach is a row without tokens.
 */
public final class MixtureRows implements RowSet, AutoCloseable {
  private static final int WINDOW = MixtureOrder.WINDOW;

  /** The share of the heap that windows may take. */
  private static final int HEAP_SHARE = 8;

  /** So many windows more are made while one is read. */
  private static final int AHEAD = 2;

  /** Windows in a cache take a memory map each, of which a process may have some 65,000. */
  private static final int MOST_WINDOWS = 1 << 14;

  /** All cores, also where the reader only waits. */
  private static final ForkJoinPool MAKERS =
      new ForkJoinPool(Runtime.getRuntime().availableProcessors());

  private final List<String> names;
  private final List<TaskRows> tasks;
  private final MixtureOrder order;
  private final int size;
  private final int maxTokens;
  private final Estimate estimate;
  private final long heldBytes;
  private final Map<Integer, CompletableFuture<Block>> windows =
      new LinkedHashMap<>(16, 0.75f, true);
  private final BlockCache cache;
  private final Losses losses;
  private long held; // bytes of the heap, guarded by windows
  private int last = -1; // the window asked for before, guarded by windows

  MixtureRows(
      List<String> names,
      List<TaskRows> tasks,
      MixtureOrder order,
      long epoch,
      int maxTokens,
      Estimate estimate,
      BlockCache cache) {
    this.names = List.copyOf(names);
    this.tasks = List.copyOf(tasks);
    this.order = order;
    size = (int) Math.min(Integer.MAX_VALUE, epoch);
    this.maxTokens = maxTokens;
    this.estimate = estimate;
    this.cache = cache;
    heldBytes = Runtime.getRuntime().maxMemory() / HEAP_SHARE;
    losses = new Losses(names.size());
  }

  /**
   * The same examples as pairs, where they were made as such: the rows are then each a source with
   * its target behind it.
   */
  public PairSet pairs() {
    return new MixturePairs(this);
  }

  /** The tokens of a pair's source; 0 for a row. */
  int sources(int row) {
    return block(row).sources(row % WINDOW);
  }

  /** What each example is. */
  public MixtureOrder order() {
    return order;
  }

  /** The name of task {@code task}. */
  public String name(int task) {
    return names.get(task);
  }

  /** What was cut and left out so far. */
  public Losses losses() {
    return losses;
  }

  /** Lengths, from some rows of every task. */
  Estimate estimate() {
    return estimate;
  }

  List<TaskRows> tasks() {
    return tasks;
  }

  /** The examples of an epoch; rows beyond it exist, up to 2^31 - 1. */
  @Override
  public int size() {
    return size;
  }

  @Override
  public int length(int row) {
    return block(row).length(row % WINDOW);
  }

  @Override
  public int targets(int row) {
    return block(row).targets(row % WINDOW);
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    block(row).copyIds(row % WINDOW, into, offset);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    block(row).copyLabels(row % WINDOW, into, offset);
  }

  @Override
  public String where(int row) {
    MixtureOrder.Draw draw = order.at(row);
    return tasks.get(draw.task()).where(draw.row()) + " (task " + names.get(draw.task()) + ")";
  }

  /** The most tokens that a row may have. */
  @Override
  public int maxLength() {
    return maxTokens;
  }

  /** An estimate: half of the shortest row that was looked at, at least 2. */
  @Override
  public int minLength() {
    return estimate.shortest();
  }

  /** An estimate from rows of every task. */
  @Override
  public long totalTokens() {
    return Math.round(estimate.tokensPerExample() * size);
  }

  /** An estimate from rows of every task. */
  @Override
  public long totalTargets() {
    return Math.round(estimate.targetsPerExample() * size);
  }

  /** Waits for what is being made ahead. Nothing may be read afterwards. */
  @Override
  public void close() {
    List<CompletableFuture<Block>> pending;
    synchronized (windows) {
      pending = List.copyOf(windows.values());
      windows.clear();
      held = 0;
    }
    pending.forEach(window -> window.exceptionally(e -> null).join());
  }

  private Block block(int row) {
    int window = row / WINDOW;
    CompletableFuture<Block> wanted = ask(window);
    try {
      return wanted.join();
    } catch (CompletionException e) {
      throw e.getCause() instanceof UserError error ? error : e;
    }
  }

  private CompletableFuture<Block> ask(int window) {
    synchronized (windows) {
      boolean onward = last < 0 || window == last || window == last + 1;
      last = window;
      CompletableFuture<Block> wanted = start(window);
      if (onward) {
        for (int ahead = 1; ahead <= AHEAD; ahead++) {
          start(window + ahead);
        }
        wanted = windows.get(window); // it was read last, and goes last
      }
      return wanted;
    }
  }

  private CompletableFuture<Block> start(int window) {
    CompletableFuture<Block> known = windows.get(window);
    if (known != null) {
      return known;
    }
    trim();
    CompletableFuture<Block> started = new CompletableFuture<>();
    windows.put(window, started);
    MAKERS.execute(
        () -> {
          try {
            Block block = make(window);
            synchronized (windows) {
              held += windows.get(window) == started ? block.heapBytes() : 0;
            }
            started.complete(block);
          } catch (Throwable e) {
            started.completeExceptionally(e);
          }
        });
    return started;
  }

  /** Lets go of the windows that were not read for longest, beyond what there is room for. */
  private void trim() {
    var eldest = windows.entrySet().iterator();
    while ((held > heldBytes || windows.size() > MOST_WINDOWS) && eldest.hasNext()) {
      CompletableFuture<Block> window = eldest.next().getValue();
      if (!window.isDone()) {
        continue;
      }
      if (windows.size() <= AHEAD + 1) {
        return;
      }
      held -= window.isCompletedExceptionally() ? 0 : window.join().heapBytes();
      eldest.remove();
    }
  }

  private Block make(int window) {
    int[] task = new int[WINDOW];
    Optional<Block> stored = cache.find(window, WINDOW);
    Block block;
    if (stored.isPresent()) {
      block = stored.get();
      for (int i = 0; i < WINDOW; i++) {
        task[i] = order.at((long) window * WINDOW + i).task();
      }
    } else {
      Block.Encoded[] made = new Block.Encoded[WINDOW];
      IntStream.range(0, WINDOW)
          .parallel()
          .forEach(
              i -> {
                MixtureOrder.Draw draw = order.at((long) window * WINDOW + i);
                task[i] = draw.task();
                made[i] = tasks.get(draw.task()).encode(draw.row(), draw.visit());
              });
      block = cache.keep(window, new HeapBlock(made));
    }
    losses.count(window, block, task);
    return block;
  }
}
