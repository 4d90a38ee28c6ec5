package dev.caravan.train;

import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.graph.Executor;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.nn.Inputs;
import dev.caravan.optim.ClipNorm;
import dev.caravan.optim.Optimizer;
import java.util.Optional;

/**
 * One optimizer step, whatever the number of micro-batches: the gradient of the loss summed over all
 * target tokens of the step and divided once by their number.
 */
public final class TrainingStep implements AutoCloseable {
  /** Name of the unit that computes loss and gradients of one micro-batch. */
  public static final String MICRO = "micro";

  /**
   * What a step did.
   *
   * @param loss mean negative log-likelihood, nats per target token, before the update
   * @param gradNorm global L2 norm of the gradient before clipping
   * @param finite whether the weights were updated; when not, some value was not a finite number
   */
  public record Result(double loss, double gradNorm, boolean finite) {}

  private final Executor executor;
  private final Stream stream;
  private final Optimizer optimizer;
  private final ClipNorm norm;
  private final StepState state;
  private final InputBuffer inputs;
  private final TensorRef gradients;
  private final long seed;
  private final float clipNorm;

  /**
   * @param executor bound to a plan with a unit {@link #MICRO}
   * @param in the inputs of that unit
   * @param optimizer of the executor's weights; closed with this
   * @param seed of random numbers on the device
   * @param clipNorm greatest global gradient norm; 0 = none
   */
  TrainingStep(
      Executor executor,
      Inputs in,
      StepState state,
      Optimizer optimizer,
      long seed,
      double clipNorm) {
    this.executor = executor;
    this.stream = executor.stream();
    this.optimizer = optimizer;
    this.state = state;
    this.seed = seed;
    this.clipNorm = (float) clipNorm;
    gradients = executor.gradients();
    norm = new ClipNorm(stream, gradients, state.ref());
    inputs = new InputBuffer(executor.plan(), in, executor.inputs());
  }

  /**
   * Trains on one step's examples.
   *
   * @param number of the step, from 1
   * @param lr learning rate of this step
   */
  public Result run(long number, Step step, double lr) {
    float inverseTargets = (float) (1.0 / step.targetTokens());
    state.begin(stream, number, seed, (float) lr, inverseTargets, clipNorm);
    stream.fill(gradients.address(), 0, gradients.bytes());
    for (int i = 0; i < step.microBatches(); i++) {
      MicroBatch batch = step.microBatch(i);
      inputs.upload(batch, stream);
      executor.run(MICRO, batch.targets());
    }
    norm.run(stream);
    optimizer.step(stream);
    StepState.Result result = state.result(stream);
    return new Result(
        result.lossSum() / step.targetTokens(), result.gradNorm(), result.finite());
  }

  /**
   * Runs the step's micro-batches again, op by op, to say where a value that is not finite arises.
   * The weights are those of before the step: nothing was updated.
   */
  String locate(long number, Step step, double lr) {
    if (NonFinite.canLocate(stream.device())) {
      state.begin(stream, number, seed, (float) lr, (float) (1.0 / step.targetTokens()), clipNorm);
      stream.fill(gradients.address(), 0, gradients.bytes());
      for (int i = 0; i < step.microBatches(); i++) {
        MicroBatch batch = step.microBatch(i);
        inputs.upload(batch, stream);
        Optional<String> found = NonFinite.locate(executor, MICRO, batch);
        if (found.isPresent()) {
          return found.get();
        }
      }
    }
    return NonFinite.unlocated(step);
  }

  /** The optimizer, whose state belongs into a checkpoint. */
  public Optimizer optimizer() {
    return optimizer;
  }

  @Override
  public void close() {
    inputs.close();
    norm.close();
    optimizer.close();
  }
}
