package dev.caravan.train;

/**
 * What a whole run takes.
 *
 * @param steps of the optimizer
 * @param tokens input tokens of all steps, padding not counted
 * @param flops model FLOPs
 * @param flopsByParameters the same as papers count it, from the number of parameters alone
 */
public record RunCost(long steps, double tokens, double flops, double flopsByParameters) {
  /**
   * The cost of a run.
   *
   * @param tokensPerStep over all ranks
   * @param flopsPerToken model FLOPs of a training token
   * @param parameters that take part in one token, or of an encoder-decoder all
   */
  static RunCost of(
      long steps,
      double tokensPerStep,
      double flopsPerToken,
      double parameters,
      boolean encoderDecoder) {
    double tokens = steps * tokensPerStep;
    return new RunCost(
        steps,
        tokens,
        tokens * flopsPerToken,
        tokens * flopsByParameters(parameters, encoderDecoder));
  }

  /**
   * FLOPs of a training token as papers count them: 6 a parameter, without attention (Kaplan et al.
   * 2020, arXiv 2001.08361, section 2.1). A token of an encoder-decoder passes the encoder or the
   * decoder, so about half of the parameters.
   */
  static double flopsByParameters(double parameters, boolean encoderDecoder) {
    return 6 * parameters / (encoderDecoder ? 2 : 1);
  }
}
