package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.PieceName;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.StoredType;
import dev.caravan.checkpoint.TensorAccess;
import dev.caravan.checkpoint.TensorPieces;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.DecoderConfig;
import dev.caravan.model.ExpertWeights;
import dev.caravan.model.HfConfig;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.model.ModelSizes;
import dev.caravan.model.RandomWeights;
import dev.caravan.model.RopeFrequencies;
import dev.caravan.model.WeightSpec;
import dev.caravan.nn.Rotary;
import dev.caravan.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A model before it has memory: its config, and where its weights come from.
 *
 * @param hf the config as Hugging Face writes it
 * @param config what the model function reads
 * @param folder the model folder; empty for random weights
 * @param seed of random weights
 */
public record ModelSource(HfConfig hf, DecoderConfig config, Optional<Path> folder, long seed) {
  private static final int CHUNK = 1 << 20; // elements filled at once

  /** The model of a run file. */
  public static ModelSource of(RunConfig.Model model) {
    if (model instanceof RunConfig.ModelFolder source) {
      return folder(source.path());
    }
    if (model instanceof RunConfig.ModelConfig source) {
      return new ModelSource(
          source.config(), source.config().config(), Optional.empty(), source.seed());
    }
    RunConfig.ModelSize named = (RunConfig.ModelSize) model;
    HfConfig hf = ModelSizes.config(named.family(), named.size());
    return new ModelSource(hf, hf.config(), Optional.empty(), named.seed());
  }

  /** The model in a Hugging Face folder. */
  public static ModelSource folder(Path path) {
    HfConfig hf = HfConfig.read(path);
    return new ModelSource(hf, hf.config(), Optional.of(path), 0);
  }

  /**
   * Fills the executor's weights, from the folder or at random, and its rotary tables.
   *
   * @throws dev.caravan.data.UserError if the folder does not hold this model's weights, whole and
   *     finite
   */
  public void load(Executor executor, int positions) {
    try (TensorAccess access = TensorAccess.of(executor.stream())) {
      if (folder.isPresent()) {
        try (Safetensors file = Safetensors.open(folder.get())) {
          load(executor, access, file, folder.get().toString());
        }
      } else {
        Map<String, WeightSpec> specs = new HashMap<>();
        config.specs().forEach(spec -> specs.put(spec.name(), spec));
        OwnPart own = OwnPart.of(executor);
        executor
            .shards()
            .load(
                slot ->
                    fill(
                        executor.weight(slot.name()),
                        own.name(slot, 0),
                        access,
                        specs.get(slot.name())));
      }
      if (config instanceof LlamaConfig llama) {
        fillRotary(llama, executor, access, positions);
      }
    }
  }

  /** Fills the executor's weights from an open checkpoint. */
  void load(Executor executor, TensorAccess access, Safetensors file, String where) {
    LlamaWeights.check(config, file.shapes(), where);
    OwnPart own = OwnPart.of(executor);
    TensorPieces parts = TensorPieces.of(file);
    executor
        .shards()
        .load(
            slot -> {
              TensorRef weight = executor.weight(slot.name());
              if (own.cut(slot)) {
                List<Long> whole = shape(executor.plan().weights().whole(slot));
                for (ExpertWeights.Piece piece :
                    LlamaWeights.pieces(slot.name(), whole, file.shapes())) {
                  read(piece, own.name(slot, 0), weight, access, parts);
                }
                return;
              }
              List<Long> shape = shape(weight);
              for (ExpertWeights.Piece piece :
                  LlamaWeights.pieces(slot.name(), shape, file.shapes())) {
                file.read(named(piece, weight, access));
              }
            });
  }

  /**
   * Reads of a piece of a whole weight what belongs to a part, whose runs begin anew in every piece.
   *
   * @param name of the part
   */
  private static void read(
      ExpertWeights.Piece piece,
      PieceName name,
      TensorRef part,
      TensorAccess access,
      TensorPieces file) {
    long size = piece.shape().stream().reduce(1L, Math::multiplyExact);
    long ranks = name.contiguous() ? 1 : name.stride() / name.run(); // that share the elements below
    long begin = name.from() * ranks;
    long from = Math.max(begin, piece.first());
    long end = Math.min(begin + part.elements() * ranks, piece.first() + size);
    if (from < end) {
      long address = part.address() + (from - begin) / ranks * part.dtype().bytes();
      TensorRef row = TensorRef.of(address, part.dtype(), (end - from) / ranks);
      PieceName its =
          new PieceName(
              piece.name(),
              (from - piece.first()) / ranks,
              name.origin(),
              name.run(),
              name.stride());
      file.read(named(its.toString(), row, access));
    }
  }

  /** Fills a weight, or the part of one that a name says. */
  private void fill(TensorRef weight, PieceName name, TensorAccess access, WeightSpec spec) {
    long elements = weight.elements();
    float[] values = new float[(int) Math.min(CHUNK, Math.min(elements, name.together(0)))];
    for (long first = 0; first < elements; ) {
      long together = Math.min(name.together(first), elements - first);
      int count = (int) Math.min(values.length, together);
      float[] part = count == values.length ? values : new float[count];
      RandomWeights.fill(spec, seed, config.initializerRange(), name.place(first), part);
      write(weight, access, first, part);
      first += count;
    }
  }

  /**
   * cos and sin of position times frequency, the product in float32 as checkpoints were trained with,
   * times the scaling's attention factor.
   */
  private static void fillRotary(
      LlamaConfig config, Executor executor, TensorAccess access, int positions) {
    RopeFrequencies rope = RopeFrequencies.of(config, positions);
    float[] inverse = rope.inverse();
    int pairs = inverse.length;
    TensorType type = TensorType.f32(positions, config.headDim() / 2);
    TensorRef cos = executor.leaf(Rotary.COS, type);
    TensorRef sin = executor.leaf(Rotary.SIN, type);
    int atOnce = Math.max(1, CHUNK / pairs);
    for (int first = 0; first < positions; first += atOnce) {
      int rows = Math.min(atOnce, positions - first);
      float[] c = new float[rows * pairs];
      float[] s = new float[rows * pairs];
      for (int i = 0; i < c.length; i++) {
        double angle = (first + i / pairs) * inverse[i % pairs];
        c[i] = (float) Math.cos(angle) * rope.attentionFactor();
        s[i] = (float) Math.sin(angle) * rope.attentionFactor();
      }
      write(cos, access, (long) first * pairs, c);
      write(sin, access, (long) first * pairs, s);
    }
  }

  /** Writes values to a float tensor from an element on, rounded where it is bfloat16. */
  private static void write(TensorRef to, TensorAccess access, long first, float[] values) {
    int size = to.dtype().bytes();
    ByteBuffer bytes = ByteBuffer.allocate(values.length * size).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < values.length; i++) {
      if (to.dtype() == DType.F32) {
        bytes.putFloat(size * i, values[i]);
      } else {
        bytes.putShort(size * i, roundToBf16(values[i]));
      }
    }
    access.write(to.address() + first * size, bytes);
  }

  /** Nearest, ties to even. */
  private static short roundToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    return (short) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }

  /** The executor's weights under their checkpoint names, for saving. */
  static List<NamedTensor> named(Executor executor, TensorAccess access) {
    return executor.plan().weights().slots().stream()
        .map(FlatLayout.Slot::name)
        .flatMap(name -> stored(name, executor.weight(name), access).stream())
        .toList();
  }

  /** A weight as files hold it: itself, or the matrices of its experts. */
  static List<NamedTensor> stored(String name, TensorRef weight, TensorAccess access) {
    return ExpertWeights.pieces(name, shape(weight)).stream()
        .map(piece -> named(piece, weight, access))
        .toList();
  }

  private static NamedTensor named(
      ExpertWeights.Piece piece, TensorRef weight, TensorAccess access) {
    long[] shape = piece.shape().stream().mapToLong(Long::longValue).toArray();
    long address = weight.address() + piece.first() * weight.dtype().bytes();
    return named(piece.name(), TensorRef.of(address, weight.dtype(), shape), access);
  }

  private static List<Long> shape(TensorType type) {
    return Arrays.stream(type.shape()).boxed().toList();
  }

  private static List<Long> shape(TensorRef tensor) {
    return Arrays.stream(tensor.shape()).boxed().toList();
  }

  /** A tensor of a device under a name. */
  static NamedTensor named(String name, TensorRef tensor, TensorAccess access) {
    return new NamedTensor(
        name,
        tensor.address(),
        tensor.bytes(),
        stored(tensor.dtype()),
        shape(tensor),
        access);
  }

  static StoredType stored(DType dtype) {
    return switch (dtype) {
      case F32 -> StoredType.F32;
      case BF16 -> StoredType.BF16;
      case U16 -> StoredType.U16;
      default -> throw new IllegalArgumentException("no weight is " + dtype);
    };
  }
}
