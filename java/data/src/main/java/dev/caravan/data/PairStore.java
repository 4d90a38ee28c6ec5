package dev.caravan.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Pairs in memory, in flat arrays: 4 bytes a token plus 32 a pair. Made by {@link Builder},
 * immutable afterwards.
 */
public final class PairStore implements PairSet {
  private final int[] tokens;
  private final int[] start;
  private final int[] sourceLength;
  private final int[] targetLength;
  private final int[] targets;
  private final int[] file;
  private final long[] line;
  private final List<String> files;

  private PairStore(Builder b) {
    tokens = Arrays.copyOf(b.tokens, b.used);
    start = Arrays.copyOf(b.start, b.size);
    sourceLength = Arrays.copyOf(b.sourceLength, b.size);
    targetLength = Arrays.copyOf(b.targetLength, b.size);
    targets = Arrays.copyOf(b.targets, b.size);
    file = Arrays.copyOf(b.file, b.size);
    line = Arrays.copyOf(b.line, b.size);
    files = List.copyOf(b.files);
  }

  @Override
  public int size() {
    return start.length;
  }

  @Override
  public int sourceLength(int row) {
    return sourceLength[row];
  }

  @Override
  public int targetLength(int row) {
    return targetLength[row];
  }

  @Override
  public int targets(int row) {
    return targets[row];
  }

  @Override
  public void copySource(int row, int[] into, int offset) {
    System.arraycopy(tokens, start[row], into, offset, sourceLength[row]);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    System.arraycopy(tokens, start[row] + sourceLength[row], into, offset, targetLength[row]);
  }

  @Override
  public String where(int row) {
    return files.get(file[row]) + ":" + line[row];
  }

  /** Collects pairs in order. Not safe for several threads. */
  public static final class Builder {
    private final List<String> files = new ArrayList<>();
    private int[] tokens = new int[1 << 12];
    private int[] start = new int[64];
    private int[] sourceLength = new int[64];
    private int[] targetLength = new int[64];
    private int[] targets = new int[64];
    private int[] file = new int[64];
    private long[] line = new long[64];
    private int used;
    private int size;

    /** Pairs added from here on come from {@code name}. Must be called before the first pair. */
    public void file(String name) {
      files.add(name);
    }

    /**
     * Adds a pair of the current file; both arrays are copied.
     *
     * @param sources how many entries of {@code source} it has
     * @param labelled how many entries of {@code labels}
     * @param atLine the pair's line in its file, from 1
     */
    public void add(int[] source, int sources, int[] labels, int labelled, long atLine) {
      if (files.isEmpty()) {
        throw new IllegalStateException("file(name) must be called before the first pair");
      }
      if (size == start.length) {
        grow();
      }
      int needed = Math.addExact(used, Math.addExact(sources, labelled));
      if (needed > tokens.length) {
        tokens = Arrays.copyOf(tokens, Math.max(needed, tokens.length + (tokens.length >> 1)));
      }
      System.arraycopy(source, 0, tokens, used, sources);
      System.arraycopy(labels, 0, tokens, used + sources, labelled);
      start[size] = used;
      sourceLength[size] = sources;
      targetLength[size] = labelled;
      targets[size] = count(labels, labelled);
      file[size] = files.size() - 1;
      line[size] = atLine;
      used = needed;
      size++;
    }

    /** The labels that count; unlike a decoder alone, the first may. */
    public static int count(int[] labels, int labelled) {
      int targets = 0;
      for (int i = 0; i < labelled; i++) {
        targets += labels[i] != Row.NO_TARGET ? 1 : 0;
      }
      return targets;
    }

    /** The pairs added so far; the builder must not be used afterwards. */
    public PairStore build() {
      return new PairStore(this);
    }

    private void grow() {
      int capacity = size + (size >> 1);
      start = Arrays.copyOf(start, capacity);
      sourceLength = Arrays.copyOf(sourceLength, capacity);
      targetLength = Arrays.copyOf(targetLength, capacity);
      targets = Arrays.copyOf(targets, capacity);
      file = Arrays.copyOf(file, capacity);
      line = Arrays.copyOf(line, capacity);
    }
  }
}
