package dev.caravan.graph;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * All weights of a model behind one another in one buffer; gradients and moments lie in the same way in
 * theirs. One call then updates the whole model, and a shard is a range.
 *
 * <p>The weights are cut into buckets, which ranks exchange as one. Where ranks keep parts, every bucket
 * is cut into as many equal ones, and a rank keeps its parts of all buckets behind one another.
 */
public final class FlatLayout {
  /** Every weight begins at a multiple of so many elements: 256 bytes in bfloat16. */
  private static final long ALIGNMENT = 128;

  /**
   * One weight.
   *
   * @param name its checkpoint name
   * @param type dtype and shape
   * @param offset first element in the buffer
   */
  public record Slot(String name, TensorType type, long offset) {
    /** Number of elements. */
    public long count() {
      return type.elements();
    }

    /** Whether weight decay applies: to tensors of two or more dimensions. */
    public boolean decays() {
      return type.rank() >= 2;
    }
  }

  /**
   * Weights that ranks exchange as one.
   *
   * @param offset first element in the buffer
   * @param elements padding included; a multiple of the number of parts
   * @param slots the weights
   * @param axis of the ranks that have the same weights
   * @param parts how many of those ranks keep a part each
   * @param kept where a rank's part begins among those that it keeps
   */
  public record Bucket(
      long offset, long elements, List<Slot> slots, Axis axis, int parts, long kept) {
    /** Elements of a part. */
    public long part() {
      return elements / parts;
    }
  }

  /**
   * The part of a weight that lies in a range of the buffer.
   *
   * @param slot the weight
   * @param from first element of the weight
   * @param count how many
   * @param at where they begin in the range
   */
  public record Span(Slot slot, long from, long count, long at) {
    /** Whether it is the whole weight. */
    public boolean whole() {
      return count == slot.count();
    }

    /** The weight's name; of a part, with its first element, as in "weight@4096". */
    public String name() {
      return whole() ? slot.name() : slot.name() + "@" + from;
    }

    /** The weight's shape; of a part, one row. */
    public long[] shape() {
      return whole() ? slot.type().shape() : new long[] {count};
    }
  }

  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final Map<String, Bucket> bucketOf = new LinkedHashMap<>();
  private final List<Bucket> buckets = new ArrayList<>();
  private final int parts;
  private final Grid grid;
  private final long elements;
  private final long keptElements;

  /** Lays the weights out in the given order, as one bucket of one part. */
  public FlatLayout(List<Tensor> parameters) {
    this(List.of(parameters), 1);
  }

  /**
   * Lays buckets of weights out in the given order.
   *
   * @param parts how many ranks keep a part of each
   */
  public FlatLayout(List<List<Tensor>> buckets, int parts) {
    this(buckets, parts, false);
  }

  /**
   * As above.
   *
   * @param whole whether every weight lies in one part, at the price of gaps: parts are as long as the
   *     longest, after the largest weights were dealt out first, each to the part with least
   */
  public FlatLayout(List<List<Tensor>> buckets, int parts, boolean whole) {
    this(buckets, parts, whole, Grid.NONE);
  }

  /**
   * As above, of weights of which some are parts.
   *
   * @param grid which
   */
  FlatLayout(List<List<Tensor>> buckets, int parts, boolean whole, Grid grid) {
    this.parts = parts;
    this.grid = grid;
    long next = 0;
    long kept = 0;
    for (List<Tensor> parameters : buckets) {
      boolean experts = grid.experts().cuts(parameters.get(0).name());
      int own = experts ? Math.max(1, parts / grid.experts().ranks()) : parts;
      Bucket bucket =
          whole && own > 1
              ? dealt(parameters, next, kept, experts ? Axis.REPLICA : Axis.DATA, own)
              : inOrder(parameters, next, kept, experts ? Axis.REPLICA : Axis.DATA, own);
      this.buckets.add(bucket);
      for (Slot slot : bucket.slots()) {
        slots.put(slot.name(), slot);
        bucketOf.put(slot.name(), bucket);
      }
      next += bucket.elements();
      kept += bucket.part();
    }
    elements = next;
    keptElements = kept;
  }

  private static Bucket inOrder(
      List<Tensor> parameters, long first, long kept, Axis axis, int parts) {
    List<Slot> own = new ArrayList<>();
    long next = first;
    for (Tensor parameter : parameters) {
      Slot slot = new Slot(parameter.name(), parameter.type(), next);
      own.add(slot);
      next = align(Math.addExact(next, slot.count()), ALIGNMENT);
    }
    long elements = align(next - first, ALIGNMENT * parts);
    return new Bucket(first, elements, List.copyOf(own), axis, parts, kept);
  }

  private static Bucket dealt(
      List<Tensor> parameters, long first, long kept, Axis axis, int parts) {
    List<Tensor> largest = new ArrayList<>(parameters);
    largest.sort(Comparator.comparingLong(parameter -> -parameter.type().elements()));
    long[] filled = new long[parts];
    Map<Tensor, Integer> partOf = new HashMap<>();
    for (Tensor parameter : largest) {
      int least = 0;
      for (int part = 1; part < parts; part++) {
        least = filled[part] < filled[least] ? part : least;
      }
      partOf.put(parameter, least);
      filled[least] = align(filled[least] + parameter.type().elements(), ALIGNMENT);
    }
    long length = Arrays.stream(filled).max().orElseThrow();
    List<Slot> own = new ArrayList<>();
    for (int part = 0; part < parts; part++) {
      long next = first + part * length;
      for (Tensor parameter : parameters) {
        if (partOf.get(parameter) == part) {
          own.add(new Slot(parameter.name(), parameter.type(), next));
          next = align(next + parameter.type().elements(), ALIGNMENT);
        }
      }
    }
    return new Bucket(first, length * parts, List.copyOf(own), axis, parts, kept);
  }

  private static long align(long count, long to) {
    return Math.addExact(count, to - 1) / to * to;
  }

  /** The weights in order. */
  public List<Slot> slots() {
    return List.copyOf(slots.values());
  }

  /** One weight by name. */
  public Slot slot(String name) {
    Slot slot = slots.get(name);
    if (slot == null) {
      throw new IllegalArgumentException("no weight is named " + name);
    }
    return slot;
  }

  /** The buckets in order. */
  public List<Bucket> buckets() {
    return List.copyOf(buckets);
  }

  /** The bucket of a weight. */
  public Bucket bucket(String name) {
    slot(name);
    return bucketOf.get(name);
  }

  /** How many ranks keep a part of each bucket; of those of experts, the ranks that have the same. */
  public int parts() {
    return parts;
  }

  /** Which of the weights are parts of larger ones. */
  public Grid grid() {
    return grid;
  }

  /** The type of the whole weight of which this is, or is a part. */
  public TensorType whole(Slot slot) {
    return grid.whole(slot.name(), slot.type());
  }

  /** Elements of the whole buffer, gaps included. */
  public long elements() {
    return elements;
  }

  /** Elements that one rank keeps of a buffer that is kept in parts. */
  public long keptElements() {
    return keptElements;
  }

  /** Where the rank's part of a bucket begins among those that it keeps. */
  public long keptOffset(Bucket bucket) {
    return bucket.kept;
  }

  /** Elements of all weights, gaps left out. */
  public long parameters() {
    return slots.values().stream().mapToLong(Slot::count).sum();
  }

  /** The weights that lie in a range of the buffer. */
  public List<Span> spans(long first, long count) {
    List<Span> spans = new ArrayList<>();
    for (Slot slot : slots.values()) {
      long from = Math.max(first, slot.offset);
      long end = Math.min(first + count, slot.offset + slot.count());
      if (from < end) {
        spans.add(new Span(slot, from - slot.offset, end - from, from - first));
      }
    }
    return spans;
  }
}
