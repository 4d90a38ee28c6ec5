package dev.caravan.tensor;

/**
 * A symbolic tensor: one value of the graph, with a name, a type and a role, but no memory. The plan
 * gives it an address.
 */
public final class Tensor {
  /** Where the memory of a tensor comes from and how long it lives. */
  public enum Role {
    /** Written by the host before each launch: ids, positions, targets. */
    INPUT,
    /** Written once by the host: rotary tables. */
    CONSTANT,
    /** A trained weight. */
    PARAMETER,
    /** The gradient of a weight: kept and added to over the micro-batches of a step. */
    GRADIENT,
    /** Kept between launches: step state, key/value caches. */
    STATE,
    /** Made and used up within one launch. */
    ACTIVATION
  }

  private final int id;
  private final String name;
  private final TensorType type;
  private final Role role;

  /** A tensor of a graph; {@code id} is its place in the order in which the graph made them. */
  public Tensor(int id, String name, TensorType type, Role role) {
    this.id = id;
    this.name = name;
    this.type = type;
    this.role = role;
  }

  /** Unique within the graph. */
  public int id() {
    return id;
  }

  /** For people: the scope and the op that made it, or the name of the weight. */
  public String name() {
    return name;
  }

  /** Its dtype and shape. */
  public TensorType type() {
    return type;
  }

  /** Where its memory comes from. */
  public Role role() {
    return role;
  }

  /** Extent of one axis; negative axes count from the end. */
  public long dim(int axis) {
    return type.dim(axis);
  }

  @Override
  public String toString() {
    return name + ": " + type;
  }
}
