package dev.caravan.ops;

import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collective.Kind;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.util.List;

/**
 * Part r of the rows of every rank goes to rank r, which has them in the order of the ranks. Inputs: x [N P,
 * ...] and, where places in use are counted, the {@link Router}s' offsets of all ranks, i32 [N (E + 1)].
 * Output: the shape of x. Its gradient is the same exchange, which takes every row back. A block that is
 * computed again exchanges again, as what is kept would be several times its input.
 *
 * @param axis between which ranks
 * @param ranks how many there are, N
 * @param counted where only places in use travel; null for all
 */
public record AllToAllRows(Axis axis, int ranks, Counted counted) implements Op {
  /**
   * Only the leading places of a part that are in use travel; the host reads how many they are. Places that
   * are not become 0, of whole numbers -1.
   *
   * @param even rows that a rank sends where experts are chosen evenly, for plans
   * @param back whether rows go back to where they came from
   */
  public record Counted(long even, boolean back) {}

  /** An exchange of whole parts. */
  public AllToAllRows(Axis axis, int ranks) {
    this(axis, ranks, null);
  }

  @Override
  public String name() {
    return "all_to_all_rows";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    TensorType x = in.get(0).type();
    Shapes.that(ranks >= 2, "got " + ranks + " ranks, needs at least 2");
    Shapes.that(
        x.shape()[0] % ranks == 0, "got " + x + " for " + ranks + " ranks, needs equal rows");
    if (counted != null) {
      Shapes.need("offsets", in.get(1), Shapes.ANY);
      Shapes.that(
          in.get(1).dim(0) % ranks == 0,
          "got " + in.get(1).type() + " offsets of " + ranks + " ranks, needs as many of each");
    }
    return List.of(x);
  }

  /** The exchange that takes rows back. */
  AllToAllRows reversed() {
    return counted == null
        ? this
        : new AllToAllRows(axis, ranks, new Counted(counted.even, !counted.back));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor d = gradients.of(node.out(0));
    Tensor back =
        counted == null
            ? gradients.emit(this, d).get(0)
            : gradients.emit(reversed(), d, node.in(1)).get(0);
    gradients.add(node.in(0), back);
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return launches(
        memory,
        memory.row(node.in(0)),
        memory.row(node.out(0)),
        counted == null ? null : memory.ref(node.in(1)),
        node.out(0).dim(0));
  }

  /**
   * Exchanges the parts of two rows of elements.
   *
   * @param offsets of all ranks, where places are counted
   * @param rows how many rows of a tensor the elements are
   */
  List<Launch> launches(
      Addresses memory, TensorRef from, TensorRef to, TensorRef offsets, long rows) {
    if (counted != null) {
      return List.of(stream -> exchange(stream, memory, from, to, offsets, rows));
    }
    Collective exchange = new Collective(Kind.ALL_TO_ALL, axis, ranks, from, to, 0);
    return List.of(memory.begin(exchange, Join.ALL), memory.join(axis, Join.ALL));
  }

  private void exchange(
      Stream stream,
      Addresses memory,
      TensorRef from,
      TensorRef to,
      TensorRef offsets,
      long rows) {
    stream.fill(
        to.address(), to.dtype() == DType.I32 ? 0xff : 0, to.elements() * to.dtype().bytes());
    Collective.Counts counts =
        counts(read(stream, offsets), memory.rank(axis), rows / ranks, to.elements() / rows);
    Collective exchange =
        new Collective(Kind.ALL_TO_ALL, axis, ranks, from, to, 0, counts);
    memory.begin(exchange, Join.ALL).run(stream);
    memory.join(axis, Join.ALL).run(stream);
  }

  private static int[] read(Stream stream, TensorRef offsets) {
    int[] values = new int[Math.toIntExact(offsets.elements())];
    int bytes = values.length * Integer.BYTES;
    stream.synchronize();
    if (stream.device().kind() == Device.Kind.CPU) {
      numbers(offsets.address(), bytes).get(values);
      return values;
    }
    try (Memory copy = Memory.staging(stream.device(), bytes)) {
      stream.copy(copy.address(), offsets.address(), bytes);
      stream.synchronize();
      numbers(copy.address(), bytes).get(values);
    }
    return values;
  }

  private static IntBuffer numbers(long address, int bytes) {
    return Memory.hostView(address, bytes).order(ByteOrder.nativeOrder()).asIntBuffer();
  }

  /**
   * Elements that go and come.
   *
   * @param offsets of all ranks' experts
   * @param each places of a part
   * @param width elements of a row
   */
  private Collective.Counts counts(int[] offsets, int rank, long each, long width) {
    int all = offsets.length / ranks;
    int share = (all - 1) / ranks;
    long[] out = new long[ranks];
    long[] in = new long[ranks];
    for (int other = 0; other < ranks; other++) {
      int mine = rank * all + other * share;
      int its = other * all + rank * share;
      out[other] = width * Math.min(each, offsets[mine + share] - offsets[mine]);
      in[other] = width * Math.min(each, offsets[its + share] - offsets[its]);
    }
    return counted.back ? new Collective.Counts(in, out) : new Collective.Counts(out, in);
  }

  @Override
  public boolean readsOnHost() {
    return counted != null;
  }

  @Override
  public long wireBytes(Node node) {
    return wireBytes(node.out(0).type());
  }

  /** Bytes that a rank sends of a tensor; where places are counted, as even choices fill them. */
  long wireBytes(TensorType type) {
    long rows = type.shape()[0];
    long bytes =
        counted == null || rows == 0 ? type.byteSize() : type.byteSize() / rows * counted.even;
    return Collective.wireBytes(Kind.ALL_TO_ALL, ranks, bytes);
  }
}
