package dev.caravan.checkpoint;

import dev.caravan.data.UserError;

/**
 * The name of a row that is a part of a tensor, and which of its elements that row holds. "weight@4096" are
 * elements of weight from 4096 on. "weight@4096:64,32,128" are those from 4096 on of a view: runs of 32
 * elements, each 128 behind the one before, the first at 64; so are parts of a matrix's columns named. A name
 * without @ is the whole tensor.
 *
 * @param tensor its name
 * @param from first element of the row, within the view
 * @param origin first element of the view, within the tensor
 * @param run elements of a run
 * @param stride from one run's first element to the next one's
 */
public record PieceName(String tensor, long from, long origin, long run, long stride) {
  private static final char FIRST = '@';

  /** Of elements behind one another. */
  public PieceName(String tensor, long from) {
    this(tensor, from, 0, Long.MAX_VALUE, Long.MAX_VALUE);
  }

  /** Checks that runs lie behind one another. */
  public PieceName {
    if (from < 0 || origin < 0 || run < 1 || stride < run) {
      throw new IllegalArgumentException(
          tensor + ": got runs of " + run + ", each " + stride + " behind the one before");
    }
  }

  /**
   * Reads a name.
   *
   * @throws UserError if it is none
   */
  public static PieceName parse(String name) {
    int at = name.lastIndexOf(FIRST);
    if (at < 0) {
      return new PieceName(name, 0);
    }
    String tensor = name.substring(0, at);
    String[] view = name.substring(at + 1).split("[:,]", -1);
    try {
      if (view.length == 1) {
        return new PieceName(tensor, Long.parseLong(view[0]));
      }
      if (view.length == 4) {
        return new PieceName(
            tensor,
            Long.parseLong(view[0]),
            Long.parseLong(view[1]),
            Long.parseLong(view[2]),
            Long.parseLong(view[3]));
      }
    } catch (IllegalArgumentException e) {
      throw new UserError(name + ": is no part of a tensor", e);
    }
    throw new UserError(name + ": needs one number behind " + FIRST + ", or four");
  }

  /** Whether its elements lie behind one another in the tensor. */
  public boolean contiguous() {
    return run == Long.MAX_VALUE;
  }

  /** Whether another row is one of the same view, so that their elements have the same numbers. */
  boolean sameView(PieceName other) {
    return origin == other.origin && run == other.run && stride == other.stride;
  }

  /** Where the row's element i is in the tensor. */
  public long place(long i) {
    long at = from + i;
    return contiguous() ? at : origin + at / run * stride + at % run;
  }

  /** How many of the row's elements from i on lie behind one another in the tensor. */
  public long together(long i) {
    return contiguous() ? Long.MAX_VALUE - from - i : run - (from + i) % run;
  }

  /** Which of the row's elements is that of the tensor at a place; negative where it is not in the view. */
  long index(long place) {
    if (contiguous()) {
      return place - from;
    }
    long behind = place - origin;
    return behind < 0 || behind % stride >= run
        ? -1
        : behind / stride * run + behind % stride - from;
  }

  /** As it stands in a file. */
  @Override
  public String toString() {
    return tensor
        + FIRST
        + from
        + (contiguous() ? "" : ":" + origin + "," + run + "," + stride);
  }
}
