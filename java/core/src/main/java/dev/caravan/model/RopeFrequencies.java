package dev.caravan.model;

/**
 * The inverse frequencies of a rotary embedding, computed in the steps and the precision of Hugging
 * Face transformers 5 (modeling_rope_utils.py): float32, with powers of the base rounded once.
 *
 * @param inverse headDim / 2 angular frequencies, in radians per position, highest first
 * @param attentionFactor what cosine and sine are multiplied with; 1 except for YaRN
 */
public record RopeFrequencies(float[] inverse, float attentionFactor) {

  /**
   * Frequencies for sequences up to {@code sequence} tokens.
   *
   * @param config the model; headDim, ropeTheta, ropeScaling and maxPosition are used
   * @param sequence longest sequence; changes the result only for dynamic scaling past maxPosition
   */
  public static RopeFrequencies of(LlamaConfig config, int sequence) {
    int dim = config.headDim();
    double theta = config.ropeTheta();
    RopeScaling scaling = config.ropeScaling();
    if (scaling instanceof RopeScaling.Linear linear) {
      float[] inverse = inverse(theta, dim);
      for (int i = 0; i < inverse.length; i++) {
        inverse[i] /= (float) linear.factor();
      }
      return new RopeFrequencies(inverse, 1);
    }
    if (scaling instanceof RopeScaling.DynamicNtk dynamic) {
      double length = (double) Math.max(sequence, config.maxPosition()) / config.maxPosition();
      double stretch = dynamic.factor() * length - (dynamic.factor() - 1);
      double base = theta * Math.pow(stretch, dim / (dim - 2.0));
      return new RopeFrequencies(inverse(base, dim), 1);
    }
    if (scaling instanceof RopeScaling.Yarn yarn) {
      return yarn(yarn, theta, dim);
    }
    if (scaling instanceof RopeScaling.Llama3 llama3) {
      return new RopeFrequencies(llama3(llama3, inverse(theta, dim)), 1);
    }
    return new RopeFrequencies(inverse(theta, dim), 1);
  }

  private static float[] inverse(double theta, int dim) {
    float[] inverse = new float[dim / 2];
    for (int i = 0; i < inverse.length; i++) {
      inverse[i] = 1f / power(theta, i, dim);
    }
    return inverse;
  }

  /** theta ^ (2i / dim) with base, exponent and result rounded to float32. */
  private static float power(double theta, int i, int dim) {
    return (float) Math.pow((float) theta, (float) (2 * i) / dim);
  }

  private static RopeFrequencies yarn(RopeScaling.Yarn yarn, double theta, int dim) {
    double low = correctionDim(yarn.betaFast(), yarn.originalMaxPosition(), theta, dim);
    double high = correctionDim(yarn.betaSlow(), yarn.originalMaxPosition(), theta, dim);
    if (yarn.truncate()) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, dim - 1);
    if (low == high) {
      high += 0.001;
    }
    float[] inverse = new float[dim / 2];
    for (int i = 0; i < inverse.length; i++) {
      float power = power(theta, i, dim);
      float ramp = (i - (float) low) / (float) (high - low);
      float kept = 1 - Math.min(1, Math.max(0, ramp));
      float interpolated = 1f / ((float) yarn.factor() * power);
      inverse[i] = interpolated * (1 - kept) + 1f / power * kept;
    }
    return new RopeFrequencies(inverse, attentionFactor(yarn));
  }

  /** The (fractional) dimension that turns {@code rotations} times over the original context. */
  private static double correctionDim(double rotations, int context, double theta, int dim) {
    return dim * Math.log(context / (rotations * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private static float attentionFactor(RopeScaling.Yarn yarn) {
    if (yarn.attentionFactor().isPresent()) {
      return (float) yarn.attentionFactor().getAsDouble();
    }
    if (yarn.mscale() != 0 && yarn.mscaleAllDim() != 0) {
      return (float)
          (mscale(yarn.factor(), yarn.mscale()) / mscale(yarn.factor(), yarn.mscaleAllDim()));
    }
    return (float) mscale(yarn.factor(), 1);
  }

  private static double mscale(double factor, double weight) {
    return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  }

  private static float[] llama3(RopeScaling.Llama3 scaling, float[] inverse) {
    float longest = (float) (scaling.originalMaxPosition() / scaling.lowFreqFactor());
    float shortest = (float) (scaling.originalMaxPosition() / scaling.highFreqFactor());
    float factor = (float) scaling.factor();
    float low = (float) scaling.lowFreqFactor();
    float range = (float) (scaling.highFreqFactor() - scaling.lowFreqFactor());
    float[] scaled = new float[inverse.length];
    for (int i = 0; i < inverse.length; i++) {
      // PyTorch divides a number by a tensor as reciprocal and product: two roundings. An angle is
      // the frequency times the position, so a last bit here is heard at long distances.
      float wavelength = 1 / inverse[i] * (float) (2 * Math.PI);
      if (wavelength < shortest) {
        scaled[i] = inverse[i];
      } else if (wavelength > longest) {
        scaled[i] = inverse[i] / factor;
      } else {
        float smooth = (1 / wavelength * scaling.originalMaxPosition() - low) / range;
        scaled[i] = (1 - smooth) * inverse[i] / factor + smooth * inverse[i];
      }
    }
    return scaled;
  }
}
