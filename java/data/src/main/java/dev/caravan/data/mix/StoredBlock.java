package dev.caravan.data.mix;

import dev.caravan.data.cache.CacheWriter;
import dev.caravan.data.cache.TokenRows;
import java.util.Optional;

/** Examples in a cached file. */
final class StoredBlock implements Block {
  private static final Fate[] FATES = Fate.values();

  /** What a map and what describes it take, about. */
  private static final long HEAP_BYTES = 512;

  private final TokenRows rows;

  private StoredBlock(TokenRows rows) {
    this.rows = rows;
  }

  /** The examples of a file; empty unless they are as many as there should be. */
  static Optional<Block> of(TokenRows rows, int size) {
    return rows.size() == size ? Optional.of(new StoredBlock(rows)) : Optional.empty();
  }

  /** Writes the examples of {@code block}. */
  static void write(Block block, CacheWriter out) {
    int[] ids = new int[256];
    int[] labels = new int[256];
    for (int i = 0; i < block.size(); i++) {
      int length = block.length(i);
      if (length > ids.length) {
        ids = new int[2 * length];
        labels = new int[2 * length];
      }
      block.copyIds(i, ids, 0);
      block.copyLabels(i, labels, 0);
      long mark = (long) block.sources(i) << Integer.SIZE | block.cut(i);
      TokenRows.put(out, ids, labels, length, block.targets(i), block.fate(i).ordinal(), mark);
    }
  }

  @Override
  public int size() {
    return (int) rows.size();
  }

  @Override
  public int length(int i) {
    return rows.length(i);
  }

  @Override
  public int targets(int i) {
    return rows.targets(i);
  }

  @Override
  public int sources(int i) {
    return (int) (rows.mark(i) >>> Integer.SIZE);
  }

  @Override
  public void copyIds(int i, int[] into, int offset) {
    rows.copyIds(i, into, offset);
  }

  @Override
  public void copyLabels(int i, int[] into, int offset) {
    rows.copyLabels(i, into, offset);
  }

  @Override
  public Fate fate(int i) {
    return FATES[rows.note(i)];
  }

  @Override
  public int cut(int i) {
    return (int) rows.mark(i);
  }

  @Override
  public long heapBytes() {
    return HEAP_BYTES;
  }
}
