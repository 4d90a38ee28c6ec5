package dev.caravan.train;

import dev.caravan.checkpoint.NamedTensor;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.StoredType;
import dev.caravan.graph.Executor;
import dev.caravan.graph.FlatLayout;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.HfConfig;
import dev.caravan.model.LlamaConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.model.ModelSizes;
import dev.caravan.model.RandomWeights;
import dev.caravan.model.RopeFrequencies;
import dev.caravan.model.WeightSpec;
import dev.caravan.nn.Rotary;
import dev.caravan.tensor.TensorType;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A model before it has memory: its config, and where its weights come from.
 *
 * @param hf the config as Hugging Face writes it
 * @param config what the model function reads
 * @param folder the model folder; empty for random weights
 * @param seed of random weights
 */
public record ModelSource(HfConfig hf, LlamaConfig config, Optional<Path> folder, long seed) {
  private static final int CHUNK = 1 << 20; // elements filled at once

  /** The model of a run file. */
  public static ModelSource of(RunConfig.Model model) {
    if (model instanceof RunConfig.ModelFolder source) {
      return folder(source.path());
    }
    if (model instanceof RunConfig.ModelConfig source) {
      return new ModelSource(
          source.config(), source.config().llama(), Optional.empty(), source.seed());
    }
    RunConfig.ModelSize named = (RunConfig.ModelSize) model;
    HfConfig hf = ModelSizes.config(named.family(), named.size());
    return new ModelSource(hf, hf.llama(), Optional.empty(), named.seed());
  }

  /** The model in a Hugging Face folder. */
  public static ModelSource folder(Path path) {
    HfConfig hf = HfConfig.read(path);
    return new ModelSource(hf, hf.llama(), Optional.of(path), 0);
  }

  /**
   * Fills the executor's weights, from the folder or at random, and its rotary tables.
   *
   * @throws dev.caravan.data.UserError if the folder does not hold this model's weights, whole and
   *     finite
   */
  public void load(Executor executor, int positions) {
    if (folder.isPresent()) {
      try (Safetensors file = Safetensors.open(folder.get())) {
        load(executor, file, folder.get().toString());
      }
    } else {
      for (WeightSpec spec : LlamaWeights.specs(config)) {
        fill(executor, spec);
      }
    }
    fillRotary(executor, positions);
  }

  /** Fills the executor's weights from an open checkpoint. */
  void load(Executor executor, Safetensors file, String where) {
    LlamaWeights.check(config, file.shapes(), where);
    for (WeightSpec spec : LlamaWeights.specs(config)) {
      TensorRef weight = executor.weight(spec.name());
      try (Staging staging = new Staging(executor.stream(), weight)) {
        file.read(staging.named(spec.name()));
      }
    }
  }

  private void fill(Executor executor, WeightSpec spec) {
    TensorRef weight = executor.weight(spec.name());
    float[] values = new float[(int) Math.min(CHUNK, spec.elements())];
    try (Staging staging = new Staging(executor.stream(), weight)) {
      for (long first = 0; first < spec.elements(); first += values.length) {
        int count = (int) Math.min(values.length, spec.elements() - first);
        float[] part = count == values.length ? values : new float[count];
        RandomWeights.fill(spec, seed, config.initializerRange(), first, part);
        staging.put(first, part);
      }
    }
  }

  /**
   * cos and sin of position times frequency, the product in float32 as checkpoints were trained with,
   * times the scaling's attention factor.
   */
  private void fillRotary(Executor executor, int positions) {
    RopeFrequencies rope = RopeFrequencies.of(config, positions);
    TensorType type = TensorType.f32(positions, config.headDim() / 2);
    try (Staging cos = new Staging(executor.stream(), executor.leaf(Rotary.COS, type));
        Staging sin = new Staging(executor.stream(), executor.leaf(Rotary.SIN, type))) {
      float[] c = new float[rope.inverse().length];
      float[] s = new float[c.length];
      for (int position = 0; position < positions; position++) {
        for (int i = 0; i < c.length; i++) {
          double angle = position * rope.inverse()[i];
          c[i] = (float) Math.cos(angle) * rope.attentionFactor();
          s[i] = (float) Math.sin(angle) * rope.attentionFactor();
        }
        cos.put((long) position * c.length, c);
        sin.put((long) position * s.length, s);
      }
    }
  }

  /** The executor's weights under their checkpoint names, for saving; CPU only. */
  static List<NamedTensor> named(Executor executor) {
    return executor.plan().weights().slots().stream()
        .map(FlatLayout.Slot::name)
        .map(name -> named(name, executor.weight(name)))
        .toList();
  }

  /** A tensor in host memory, under a name. */
  static NamedTensor named(String name, TensorRef tensor) {
    return new NamedTensor(
        name,
        tensor.address(),
        tensor.bytes(),
        stored(tensor.dtype()),
        java.util.Arrays.stream(tensor.shape()).boxed().toList());
  }

  static StoredType stored(DType dtype) {
    return switch (dtype) {
      case F32 -> StoredType.F32;
      case BF16 -> StoredType.BF16;
      case U16 -> StoredType.U16;
      default -> throw new IllegalArgumentException("no weight is " + dtype);
    };
  }

  /** Host memory that is copied to a tensor of the device when it is closed. */
  private static final class Staging implements AutoCloseable {
    private final Stream stream;
    private final TensorRef target;
    private final Memory host;

    Staging(Stream stream, TensorRef target) {
      this.stream = stream;
      this.target = target;
      boolean onHost = stream.device().kind() == Device.Kind.CPU;
      host = onHost ? null : Memory.allocate(Device.CPU, target.bytes());
    }

    private long address() {
      return host == null ? target.address() : host.address();
    }

    NamedTensor named(String name) {
      return ModelSource.named(
          name, TensorRef.of(address(), target.dtype(), target.shape()));
    }

    void put(long first, float[] values) {
      if (target.dtype() == DType.F32) {
        FloatBuffer view =
            Memory.hostView(address() + first * Float.BYTES, values.length * Float.BYTES)
                .asFloatBuffer();
        view.put(values);
        return;
      }
      java.nio.ShortBuffer view =
          Memory.hostView(address() + first * Short.BYTES, values.length * Short.BYTES)
              .asShortBuffer();
      for (int i = 0; i < values.length; i++) {
        view.put(i, roundToBf16(values[i]));
      }
    }

    /** Nearest, ties to even. */
    private static short roundToBf16(float value) {
      int bits = Float.floatToRawIntBits(value);
      return (short) ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    @Override
    public void close() {
      if (host != null) {
        stream.copy(target.address(), host.address(), target.bytes());
        stream.synchronize();
        host.close();
      }
    }
  }
}
