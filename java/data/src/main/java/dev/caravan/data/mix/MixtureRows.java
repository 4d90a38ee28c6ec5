package dev.caravan.data.mix;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.MixtureOrder;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ForkJoinPool;
import java.util.stream.IntStream;

/**
 * The endless sequence of a mixture's examples as rows: row k is example k. They are made a window
 * at a time on all cores, the next window ahead of need, and the latest windows stay on the heap up
 * to a share of it. An example that has nothing to teach is a row without tokens.
 */
public final class MixtureRows implements RowSet, AutoCloseable {
  private static final int WINDOW = MixtureOrder.WINDOW;

  /** The share of the heap that windows may take. */
  private static final int HEAP_SHARE = 8;

  /** One window more is made while one is read. */
  private static final int AHEAD = 1;

  private final List<String> names;
  private final List<TaskRows> tasks;
  private final MixtureOrder order;
  private final int size;
  private final int maxTokens;
  private final Estimate estimate;
  private final long heldBytes;
  private final Map<Integer, CompletableFuture<Block>> windows =
      new LinkedHashMap<>(16, 0.75f, true);
  private final Losses losses;

  MixtureRows(
      List<String> names,
      List<TaskRows> tasks,
      MixtureOrder order,
      long epoch,
      int maxTokens,
      Estimate estimate) {
    this.names = List.copyOf(names);
    this.tasks = List.copyOf(tasks);
    this.order = order;
    size = (int) Math.min(Integer.MAX_VALUE, epoch);
    this.maxTokens = maxTokens;
    this.estimate = estimate;
    heldBytes = Runtime.getRuntime().maxMemory() / HEAP_SHARE;
    losses = new Losses(names.size());
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
    return block(row).targetCounts[row % WINDOW];
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    Block block = block(row);
    int i = row % WINDOW;
    System.arraycopy(block.ids, block.start[i], into, offset, block.length(i));
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    Block block = block(row);
    int i = row % WINDOW;
    System.arraycopy(block.labels, block.start[i], into, offset, block.length(i));
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
      CompletableFuture<Block> known = windows.get(window);
      if (known != null && known.isDone() && windows.containsKey(window + AHEAD)) {
        return known;
      }
      for (int ahead = AHEAD; ahead >= 0; ahead--) {
        windows.computeIfAbsent(
            window + ahead,
            w -> CompletableFuture.supplyAsync(() -> make(w), ForkJoinPool.commonPool()));
      }
      known = windows.get(window);
      trim(window);
      return known;
    }
  }

  /** Lets go of the windows that were not read for longest, beyond what the heap has room for. */
  private void trim(int window) {
    long held = 0;
    List<Integer> idle = new ArrayList<>();
    for (Map.Entry<Integer, CompletableFuture<Block>> entry : windows.entrySet()) {
      if (entry.getValue().isDone() && !entry.getValue().isCompletedExceptionally()) {
        held += entry.getValue().join().bytes();
        if (entry.getKey() < window || entry.getKey() > window + AHEAD) {
          idle.add(entry.getKey());
        }
      }
    }
    for (int i = 0; i < idle.size() && held > heldBytes; i++) {
      held -= windows.remove(idle.get(i)).join().bytes();
    }
  }

  private Block make(int window) {
    Block.Encoded[] made = new Block.Encoded[WINDOW];
    int[] task = new int[WINDOW];
    IntStream.range(0, WINDOW)
        .parallel()
        .forEach(
            i -> {
              MixtureOrder.Draw draw = order.at((long) window * WINDOW + i);
              task[i] = draw.task();
              made[i] = tasks.get(draw.task()).encode(draw.row(), draw.visit());
            });
    Block block = Block.of(made);
    losses.count(window, block, task);
    return block;
  }
}
