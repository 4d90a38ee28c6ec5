package dev.caravan.bench;

import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Product;
import dev.caravan.kernels.Products;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.kernels.nvidia.CublasLt;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * Device memory for one measurement: inputs with random values, outputs filled with a value that is not
 * a number, so that one that is never written shows. Everything crosses between host and device by the
 * stream's copies. Freed all at once.
 */
final class Bed implements AutoCloseable {
  /** Every byte so, a float32 and a bfloat16 are not numbers. */
  private static final int POISON = 0xff;

  /** The same of integers, of which -1 says that there is none. */
  private static final int INTEGER_POISON = 0x80;

  /** An integer of that poison. */
  private static final int NEVER_WRITTEN = 0x8080_8080;

  private static final int WINDOW_BYTES = 1 << 24;

  private final Stream stream;
  private final SplittableRandom random = new SplittableRandom(1);
  private final List<AutoCloseable> owned = new ArrayList<>();
  private final List<TensorRef> outputs = new ArrayList<>();
  private StepState state;
  private final boolean vendor;
  private Products products;

  /** Products are computed by who would compute them in training. */
  Bed(Stream stream) {
    this(stream, true);
  }

  /**
   * A bed.
   *
   * @param vendor whether a vendor's library may compute products
   */
  Bed(Stream stream, boolean vendor) {
    this.stream = stream;
    this.vendor = vendor;
  }

  /** Whether a vendor's library computes a product here. */
  boolean usesVendor() {
    return products != null && products != Products.ABI;
  }

  private TensorRef allocate(DType dtype, long... shape) {
    long elements = 1;
    for (long extent : shape) {
      elements *= extent;
    }
    Memory memory = Memory.allocate(stream.device(), elements * dtype.bytes());
    owned.add(memory);
    return TensorRef.in(memory, 0, dtype, shape);
  }

  /**
   * Numbers between -1 and 1, each a multiple of 1/128, so float32 and bfloat16 hold the same; again the
   * same ones after 16 MiB.
   */
  TensorRef random(DType dtype, long... shape) {
    TensorRef tensor = allocate(dtype, shape);
    repeat(
        tensor,
        (bytes, first, count) -> {
          for (int i = 0; i < count; i++) {
            int bits = Float.floatToRawIntBits((random.nextInt(257) - 128) / 128f);
            if (dtype == DType.F32) {
              bytes.putInt(i * Float.BYTES, bits);
            } else {
              bytes.putShort(i * Short.BYTES, (short) (bits >>> 16));
            }
          }
        });
    return tensor;
  }

  /** Ones. */
  TensorRef ones(DType dtype, long... shape) {
    TensorRef tensor = allocate(dtype, shape);
    short bf16 = (short) (Float.floatToRawIntBits(1) >>> 16);
    repeat(
        tensor,
        (bytes, first, count) -> {
          for (int i = 0; i < count; i++) {
            if (dtype == DType.F32) {
              bytes.putFloat(i * Float.BYTES, 1);
            } else {
              bytes.putShort(i * Short.BYTES, bf16);
            }
          }
        });
    return tensor;
  }

  /** The same integers for every call: element i is {@code of(i)}. */
  TensorRef ints(int count, java.util.function.IntUnaryOperator of) {
    TensorRef tensor = allocate(DType.I32, count);
    upload(
        tensor,
        (bytes, first, here) -> {
          for (int i = 0; i < here; i++) {
            bytes.putInt(i * Integer.BYTES, of.applyAsInt(Math.toIntExact(first + i)));
          }
        });
    return tensor;
  }

  /** Token ids below {@code bound}. */
  TensorRef ids(int count, int bound) {
    return ints(count, i -> random.nextInt(bound));
  }

  /** What a call writes whole. */
  TensorRef output(DType dtype, long... shape) {
    TensorRef tensor = allocate(dtype, shape);
    int poison = dtype == DType.I32 ? INTEGER_POISON : POISON;
    stream.fill(tensor.address(), poison, tensor.bytes());
    outputs.add(tensor);
    return tensor;
  }

  /** What a call adds to or carries on; zeros at first. */
  TensorRef sum(DType dtype, long... shape) {
    TensorRef tensor = allocate(dtype, shape);
    stream.fill(tensor.address(), 0, tensor.bytes());
    if (dtype == DType.F32 || dtype == DType.BF16) {
      outputs.add(tensor);
    }
    return tensor;
  }

  /** Bytes as they are given. */
  TensorRef bytes(ByteBuffer content) {
    TensorRef tensor = allocate(DType.U8, content.remaining());
    upload(
        tensor,
        (bytes, first, count) -> bytes.put(0, content, content.position() + (int) first, count));
    return tensor;
  }

  /** A step's state, begun: nothing clipped, a thousand targets and tokens in all. */
  TensorRef state() {
    if (state == null) {
      state = new StepState(allocate(DType.U8, StepState.bytes()), stream.device());
      owned.add(state);
      state.begin(stream, 1, 1, 1e-4f, 1e-3f, 1e-3f, 1);
    }
    return state.ref();
  }

  /** {@code c = op(a) op(b) + beta c}, by the vendor's library where it may and can, else by our kernel. */
  KernelCall product(
      TensorRef a,
      boolean transposeA,
      TensorRef b,
      boolean transposeB,
      TensorRef c,
      float beta) {
    if (products == null) {
      products =
          vendor ? CublasLt.open(stream, reason -> {}).orElse(Products.ABI) : Products.ABI;
      owned.add(products);
    }
    return products.prepare(new Product(a, transposeA, b, transposeB, c, null, 1, beta));
  }

  /** The call with its workspace; freed with the bed. */
  KernelCall ready(KernelCall call) {
    owned.add(call);
    long bytes = call.workspaceBytes(stream.device().kind());
    return bytes == 0 ? call : call.workspace(allocate(DType.U8, bytes).address(), bytes);
  }

  /** Gives a call to the stream. */
  void run(KernelCall call) {
    call.run(stream);
  }

  /** Outputs in the order that they were asked for, read back as numbers. */
  List<float[]> read() {
    List<float[]> all = new ArrayList<>();
    for (TensorRef tensor : outputs) {
      float[] values = new float[Math.toIntExact(tensor.elements())];
      boolean wide = tensor.dtype() == DType.F32;
      boolean whole = tensor.dtype() == DType.I32;
      download(
          tensor,
          (bytes, first, count) -> {
            for (int i = 0; i < count; i++) {
              int bits = wide || whole ? bytes.getInt(i * 4) : bytes.getShort(i * 2) << 16;
              values[(int) first + i] = whole ? bits : Float.intBitsToFloat(bits);
            }
          });
      all.add(values);
    }
    return all;
  }

  /** Writes or reads a window of a tensor, in native byte order: elements first, first + 1, ... */
  @FunctionalInterface
  private interface Window {
    void visit(ByteBuffer bytes, long first, int count);
  }

  /** Fills one window and copies it over and over. */
  private void repeat(TensorRef tensor, Window filler) {
    boolean[] filled = new boolean[1];
    upload(
        tensor,
        (bytes, first, count) -> {
          if (!filled[0]) {
            filler.visit(bytes, first, count);
            filled[0] = true;
          }
        });
  }

  private void upload(TensorRef tensor, Window filler) {
    try (Memory host = Memory.allocate(Device.CPU, Math.min(WINDOW_BYTES, tensor.bytes()))) {
      ByteBuffer view = host.view(0, (int) host.bytes());
      for (long at = 0; at < tensor.bytes(); at += host.bytes()) {
        int bytes = (int) Math.min(host.bytes(), tensor.bytes() - at);
        int width = tensor.dtype().bytes();
        filler.visit(view, at / width, bytes / width);
        stream.copy(tensor.address() + at, host.address(), bytes);
        stream.synchronize();
      }
    }
  }

  /** Whether every element of every output was written, and is a finite number. */
  boolean outputsAreFinite() {
    return outputs.stream().allMatch(this::isFinite);
  }

  private boolean isFinite(TensorRef tensor) {
    boolean wide = tensor.dtype() == DType.F32;
    boolean whole = tensor.dtype() == DType.I32;
    boolean[] finite = {true};
    download(
        tensor,
        (bytes, first, count) -> {
          for (int i = 0; whole && i < count; i++) {
            finite[0] &= bytes.getInt(i * 4) != NEVER_WRITTEN;
          }
          for (int i = 0; !whole && i < count; i++) {
            int exponent = wide ? bytes.getInt(i * 4) >>> 23 : bytes.getShort(i * 2) >>> 7;
            finite[0] &= (exponent & 0xff) != 0xff;
          }
        });
    return finite[0];
  }

  private void download(TensorRef tensor, Window reader) {
    try (Memory host = Memory.allocate(Device.CPU, Math.min(WINDOW_BYTES, tensor.bytes()))) {
      ByteBuffer view = host.view(0, (int) host.bytes());
      for (long at = 0; at < tensor.bytes(); at += host.bytes()) {
        int bytes = (int) Math.min(host.bytes(), tensor.bytes() - at);
        stream.copy(host.address(), tensor.address() + at, bytes);
        stream.synchronize();
        int width = tensor.dtype().bytes();
        reader.visit(view, at / width, bytes / width);
      }
    }
  }

  @Override
  public void close() {
    for (int i = owned.size() - 1; i >= 0; i--) {
      try {
        owned.get(i).close();
      } catch (RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }
    owned.clear();
  }
}
