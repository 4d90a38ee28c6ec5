package dev.caravan.data.cache;

import dev.caravan.data.Row;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Rows of tokens in a cached file. Ids take two bytes where all of a row's fit, else four; labels
 * are the runs in which they are the ids, or, where they are something else, numbers of their own.
 * Each row carries two numbers for its writer. Reading is safe from several threads.
 */
public final class TokenRows {
  /** Bytes of an index entry: offset (8), length, targets, form (4 each), note (4), mark (8). */
  public static final int ENTRY_BYTES = 32;

  private static final int LENGTH_AT = 8;
  private static final int TARGETS_AT = 12;
  private static final int FORM_AT = 16;
  private static final int NOTE_AT = 20;
  private static final int MARK_AT = 24;

  private static final int WIDE = 1;
  private static final int OWN_LABELS = 2;
  private static final int RUNS_SHIFT = 2;

  private final CacheFile file;

  /** The rows of a file that {@link #put} wrote. */
  public TokenRows(CacheFile file) {
    this.file = file;
  }

  /**
   * Writes a row: the first {@code length} entries of both arrays.
   *
   * @param note anything, given back by {@link #note}
   * @param mark anything, given back by {@link #mark}
   */
  public static void put(
      CacheWriter out, int[] ids, int[] labels, int length, int targets, int note, long mark) {
    out.align();
    long place = out.position();
    int highest = 0;
    boolean own = false;
    int runs = 0;
    boolean before = false;
    for (int i = 0; i < length; i++) {
      highest |= ids[i];
      boolean target = labels[i] != Row.NO_TARGET;
      own |= target && labels[i] != ids[i];
      runs += target && !before ? 1 : 0;
      before = target;
    }
    boolean wide = highest >>> Short.SIZE != 0;
    for (int i = 0; i < length; i++) {
      if (wide) {
        out.putInt(ids[i]);
      } else {
        out.putShort(ids[i]);
      }
    }
    out.align();
    if (own) {
      for (int i = 0; i < length; i++) {
        out.putInt(labels[i]);
      }
    } else {
      putRuns(out, labels, length);
    }
    out.entry()
        .putLong(place)
        .putInt(length)
        .putInt(targets)
        .putInt((wide ? WIDE : 0) | (own ? OWN_LABELS : runs << RUNS_SHIFT))
        .putInt(note)
        .putLong(mark);
  }

  private static void putRuns(CacheWriter out, int[] labels, int length) {
    for (int from = 0; from < length; ) {
      if (labels[from] == Row.NO_TARGET) {
        from++;
        continue;
      }
      int to = from;
      while (to < length && labels[to] != Row.NO_TARGET) {
        to++;
      }
      out.putInt(from);
      out.putInt(to);
      from = to;
    }
  }

  /** The number of rows. */
  public long size() {
    return file.records();
  }

  /** The file. */
  public CacheFile file() {
    return file;
  }

  /** The tokens of row {@code row}. */
  public int length(long row) {
    return file.entryInt(row, LENGTH_AT);
  }

  /** The target tokens of row {@code row}, as its writer counted them. */
  public int targets(long row) {
    return file.entryInt(row, TARGETS_AT);
  }

  /** The note of row {@code row}. */
  public int note(long row) {
    return file.entryInt(row, NOTE_AT);
  }

  /** The mark of row {@code row}. */
  public long mark(long row) {
    return file.entryLong(row, MARK_AT);
  }

  /** Copies the token ids of row {@code row} to {@code into[offset ..)}. */
  public void copyIds(long row, int[] into, int offset) {
    long place = file.entryLong(row, 0);
    copy(place, 0, length(row), isWide(row), into, offset);
  }

  /** Copies the labels of row {@code row} to {@code into[offset ..)}. */
  public void copyLabels(long row, int[] into, int offset) {
    long place = file.entryLong(row, 0);
    int length = length(row);
    int form = file.entryInt(row, FORM_AT);
    boolean wide = isWide(row);
    long labels = place + (wide ? 4L * length : 4L * ((length + 1) / 2));
    if ((form & OWN_LABELS) != 0) {
      copy(labels, 0, length, true, into, offset);
      return;
    }
    Arrays.fill(into, offset, offset + length, Row.NO_TARGET);
    ByteBuffer map = file.map(labels);
    int at = CacheFile.within(labels);
    for (int run = 0; run < form >>> RUNS_SHIFT; run++, at += 8) {
      int from = map.getInt(at);
      copy(place, from, map.getInt(at + 4) - from, wide, into, offset + from);
    }
  }

  private boolean isWide(long row) {
    return (file.entryInt(row, FORM_AT) & WIDE) != 0;
  }

  private void copy(long place, int first, int count, boolean wide, int[] into, int offset) {
    ByteBuffer map = file.map(place);
    int at = CacheFile.within(place);
    if (wide) {
      for (int i = 0; i < count; i++) {
        into[offset + i] = map.getInt(at + 4 * (first + i));
      }
    } else {
      for (int i = 0; i < count; i++) {
        into[offset + i] = map.getShort(at + 2 * (first + i)) & 0xffff;
      }
    }
  }
}
