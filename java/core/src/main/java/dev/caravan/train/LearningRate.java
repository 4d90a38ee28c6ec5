package dev.caravan.train;

/**
 * The learning rate of each step: warm-up from 0, then the schedule. With t the share of the steps
 * after warm-up that are done, and r the final ratio:
 *
 * <pre>
 * warm-up       lr * step / warmup_steps
 * constant      lr
 * linear        lr * (1 - (1 - r) * t)
 * cosine        lr * (r + (1 - r) * (1 + cos(pi t)) / 2)
 * inverse_sqrt  lr * sqrt(max(warmup_steps, 1) / step)
 * </pre>
 *
 * @param lr peak learning rate
 * @param schedule how it goes on after warm-up
 * @param warmupSteps steps of warm-up; 0 = none
 * @param finalRatio r: where linear and cosine end, as a share of lr
 * @param steps of the whole run
 */
public record LearningRate(
    double lr, RunConfig.Schedule schedule, int warmupSteps, double finalRatio, int steps) {
  /** The learning rate of a step, from 1. */
  public double at(int step) {
    if (step <= warmupSteps) {
      return lr * step / warmupSteps;
    }
    double t = steps > warmupSteps ? (double) (step - warmupSteps) / (steps - warmupSteps) : 1;
    return switch (schedule) {
      case CONSTANT -> lr;
      case LINEAR -> lr * (1 - (1 - finalRatio) * t);
      case COSINE -> lr * (finalRatio + (1 - finalRatio) * (1 + Math.cos(Math.PI * t)) / 2);
      case INVERSE_SQRT -> lr * Math.sqrt((double) Math.max(warmupSteps, 1) / step);
    };
  }
}
