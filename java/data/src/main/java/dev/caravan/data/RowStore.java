package dev.caravan.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Rows in memory: token ids and labels side by side in flat arrays of a fixed chunk size, 8 bytes a
 * token plus 24 a row. Made by {@link Builder}, immutable afterwards.
 */
public final class RowStore implements RowSet {
  private static final int CHUNK_TOKENS = 1 << 18;

  private final List<int[]> ids;
  private final List<int[]> labels;
  private final int[] chunk;
  private final int[] start;
  private final int[] length;
  private final int[] targets;
  private final int[] file;
  private final long[] line;
  private final List<String> files;
  private final int maxLength;
  private final int minLength;
  private final long totalTokens;
  private final long totalTargets;

  private RowStore(Builder b) {
    ids = List.copyOf(b.ids);
    labels = List.copyOf(b.labels);
    chunk = Arrays.copyOf(b.chunk, b.size);
    start = Arrays.copyOf(b.start, b.size);
    length = Arrays.copyOf(b.length, b.size);
    targets = Arrays.copyOf(b.targets, b.size);
    file = Arrays.copyOf(b.file, b.size);
    line = Arrays.copyOf(b.line, b.size);
    files = List.copyOf(b.files);
    maxLength = Arrays.stream(length).max().orElse(0);
    minLength = Arrays.stream(length).min().orElse(0);
    totalTokens = Arrays.stream(length).asLongStream().sum();
    totalTargets = Arrays.stream(targets).asLongStream().sum();
  }

  @Override
  public int size() {
    return length.length;
  }

  @Override
  public int length(int row) {
    return length[row];
  }

  @Override
  public int targets(int row) {
    return targets[row];
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    System.arraycopy(ids.get(chunk[row]), start[row], into, offset, length[row]);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    System.arraycopy(labels.get(chunk[row]), start[row], into, offset, length[row]);
  }

  @Override
  public String where(int row) {
    return files.get(file[row]) + ":" + line[row];
  }

  @Override
  public int maxLength() {
    return maxLength;
  }

  @Override
  public int minLength() {
    return minLength;
  }

  @Override
  public long totalTokens() {
    return totalTokens;
  }

  @Override
  public long totalTargets() {
    return totalTargets;
  }

  /** The targets among the first {@code count} labels: those other than -100, without label 0. */
  public static int targets(int[] labels, int count) {
    int targets = 0;
    for (int i = 1; i < count; i++) {
      if (labels[i] != Row.NO_TARGET) {
        targets++;
      }
    }
    return targets;
  }

  /** The rows given, in order; for tests and for rows that a program makes itself. */
  public static RowStore of(List<Row> rows) {
    Builder builder = new Builder();
    builder.file("memory");
    for (Row row : rows) {
      builder.add(row.inputIds(), row.labels(), row.index() + 1);
    }
    return builder.build();
  }

  /** Collects rows in order. Not safe for several threads. */
  public static final class Builder {
    private final List<int[]> ids = new ArrayList<>();
    private final List<int[]> labels = new ArrayList<>();
    private final List<String> files = new ArrayList<>();
    private int[] chunk = new int[64];
    private int[] start = new int[64];
    private int[] length = new int[64];
    private int[] targets = new int[64];
    private int[] file = new int[64];
    private long[] line = new long[64];
    private int size;
    private int used;

    /** Rows added from here on come from {@code name}. Must be called before the first row. */
    public void file(String name) {
      files.add(name);
    }

    /** Adds a row of the current file. */
    public void add(int[] rowIds, int[] rowLabels, long atLine) {
      if (rowLabels.length != rowIds.length) {
        throw new IllegalArgumentException(
            "labels must be as many as ids, got " + rowLabels.length + " and " + rowIds.length);
      }
      add(rowIds, rowLabels, rowIds.length, atLine);
    }

    /**
     * Adds a row of the current file: the first {@code count} entries of both arrays, which are
     * copied.
     *
     * @param atLine the row's line in its file, from 1
     */
    public void add(int[] rowIds, int[] rowLabels, int count, long atLine) {
      if (files.isEmpty()) {
        throw new IllegalStateException("file(name) must be called before the first row");
      }
      if (size == length.length) {
        grow();
      }
      if (ids.isEmpty() || used + count > ids.get(ids.size() - 1).length) {
        ids.add(new int[Math.max(CHUNK_TOKENS, count)]);
        labels.add(new int[Math.max(CHUNK_TOKENS, count)]);
        used = 0;
      }
      System.arraycopy(rowIds, 0, ids.get(ids.size() - 1), used, count);
      System.arraycopy(rowLabels, 0, labels.get(labels.size() - 1), used, count);
      chunk[size] = ids.size() - 1;
      start[size] = used;
      length[size] = count;
      targets[size] = RowStore.targets(rowLabels, count);
      file[size] = files.size() - 1;
      line[size] = atLine;
      used += count;
      size++;
    }

    /** The number of rows so far. */
    public int size() {
      return size;
    }

    /** The rows added so far; the builder must not be used afterwards. */
    public RowStore build() {
      return new RowStore(this);
    }

    private void grow() {
      int capacity = size + (size >> 1);
      chunk = Arrays.copyOf(chunk, capacity);
      start = Arrays.copyOf(start, capacity);
      length = Arrays.copyOf(length, capacity);
      targets = Arrays.copyOf(targets, capacity);
      file = Arrays.copyOf(file, capacity);
      line = Arrays.copyOf(line, capacity);
    }
  }
}
