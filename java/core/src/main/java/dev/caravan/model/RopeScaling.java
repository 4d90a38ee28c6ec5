package dev.caravan.model;

import java.util.OptionalDouble;

/**
 * How rotary position frequencies are stretched beyond the context of pre-training. Each record
 * holds what its formula in {@link RopeFrequencies} needs, under the names of Hugging Face's {@code
 * rope_parameters}.
 */
public sealed interface RopeScaling {

  /** The value of {@code rope_type} in a Hugging Face config. */
  String typeName();

  /** Plain rotary embedding (Su et al. 2021). */
  record None() implements RopeScaling {
    @Override
    public String typeName() {
      return "default";
    }
  }

  /**
   * Position interpolation (Chen et al. 2023): every frequency divided by the factor.
   *
   * @param factor at least 1
   */
  record Linear(double factor) implements RopeScaling {
    @Override
    public String typeName() {
      return "linear";
    }
  }

  /**
   * NTK-aware scaling whose base grows once a sequence passes {@code max_position_embeddings}.
   *
   * @param factor at least 1
   */
  record DynamicNtk(double factor) implements RopeScaling {
    @Override
    public String typeName() {
      return "dynamic";
    }
  }

  /**
   * YaRN (Peng et al. 2023): interpolates low frequencies, keeps high ones, ramps between, and
   * scales cosine and sine by the attention factor.
   *
   * @param factor at least 1
   * @param originalMaxPosition context length of pre-training, in tokens
   * @param betaFast rotations above which a dimension is kept; 32 by default
   * @param betaSlow rotations below which a dimension is interpolated; 1 by default
   * @param attentionFactor the stated scale of cosine and sine; inferred where empty
   * @param mscale numerator's weight where the attention factor is inferred; 0 where not stated
   * @param mscaleAllDim denominator's weight, likewise; 0 where not stated
   * @param truncate whether the ramp's ends are rounded outwards to whole dimensions
   */
  record Yarn(
      double factor,
      int originalMaxPosition,
      double betaFast,
      double betaSlow,
      OptionalDouble attentionFactor,
      double mscale,
      double mscaleAllDim,
      boolean truncate)
      implements RopeScaling {
    @Override
    public String typeName() {
      return "yarn";
    }
  }

  /**
   * The scaling of Llama 3.1: long wavelengths divided by the factor, short ones kept, a smooth
   * blend between.
   *
   * @param factor at least 1
   * @param lowFreqFactor wavelengths above originalMaxPosition / this are divided
   * @param highFreqFactor wavelengths below originalMaxPosition / this are kept; above
   *     lowFreqFactor
   * @param originalMaxPosition context length of pre-training, in tokens
   */
  record Llama3(double factor, double lowFreqFactor, double highFreqFactor, int originalMaxPosition)
      implements RopeScaling {
    @Override
    public String typeName() {
      return "llama3";
    }
  }
}
