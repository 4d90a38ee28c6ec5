package dev.caravan.graph;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * All weights of a model behind one another in one buffer; gradients and moments lie in the same way in
 * theirs. One call then updates the whole model, and a shard is a range.
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

  private final Map<String, Slot> slots = new LinkedHashMap<>();
  private final long elements;

  /** Lays the weights out in the given order. */
  public FlatLayout(List<Tensor> parameters) {
    long next = 0;
    for (Tensor parameter : parameters) {
      slots.put(parameter.name(), new Slot(parameter.name(), parameter.type(), next));
      next = Math.addExact(next, parameter.type().elements());
      next = Math.addExact(next, ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    elements = next;
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

  /** Elements of the whole buffer, gaps included. */
  public long elements() {
    return elements;
  }

  /** Elements of all weights, gaps left out. */
  public long parameters() {
    return slots.values().stream().mapToLong(Slot::count).sum();
  }
}
