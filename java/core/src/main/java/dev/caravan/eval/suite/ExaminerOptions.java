package dev.caravan.eval.suite;

import dev.caravan.kernels.DType;

/**
 * How a model is asked.
 *
 * @param tooLong what happens to a question that does not fit the model's context
 * @param samples how many times a written answer is drawn; above 1 the majority counts
 * @param temperature of drawing; 0 takes the likeliest token
 * @param topP of drawing
 * @param seed of drawing
 * @param storage dtype of weights and activations
 */
public record ExaminerOptions(
    TooLong tooLong, int samples, double temperature, double topP, long seed, DType storage) {

  /** What happens to a question that does not fit the model's context. */
  public enum TooLong {
    /** The run ends with an error. */
    FAIL,
    /**
     * Exemplars are left out until it fits, which is counted; an error if it does not even then.
     */
    FEWER_SHOTS,
    /** As before, but a question that does not fit even then is left out, which is counted. */
    SKIP
  }

  /** Greedy, float32, exemplars left out where they do not fit. */
  public static ExaminerOptions usual() {
    return new ExaminerOptions(TooLong.FEWER_SHOTS, 1, 0, 1, 0, DType.F32);
  }
}
