package dev.caravan.train;

import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Executor;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.StepState;
import dev.caravan.parallel.Turns;

/** The mean loss on rows that are not trained on, under the weights as they are. */
final class Evaluation {
  /**
   * What was found.
   *
   * @param loss nats per target token
   * @param targets how many there were
   */
  record Result(double loss, long targets) {}

  private final Executor executor;
  private final StepState state;
  private final InputBuffer inputs;
  private final StepSource rows;
  private final long count;
  private final Step step;
  private final MicroBatch nothing;

  /**
   * @param executor bound to a plan with a unit {@link RunPlan#EVAL}
   * @param inputs of that unit
   * @param rows every row once, in order
   * @param count how many rows there are
   */
  Evaluation(
      Executor executor, InputBuffer inputs, StepState state, StepSource rows, long count) {
    this.executor = executor;
    this.inputs = inputs;
    this.state = state;
    this.rows = rows;
    this.count = count;
    step = rows.newStep();
    nothing = rows.emptyMicroBatch();
  }

  Result run() {
    state.begin(executor.stream(), 1, 0, 0, 0, 0);
    long targets = 0;
    Collectives ranks = executor.ranks();
    Turns turns = new Turns(ranks.rank(Axis.DATA), ranks.size(Axis.DATA));
    for (long first = 0; first < count; first = step.nextK()) {
      rows.fill(first, count, step);
      for (int round = 0; round < turns.rounds(step.microBatches()); round++) {
        int buffer = turns.buffer(round, step.microBatches());
        MicroBatch batch = buffer == Turns.NONE ? nothing : step.microBatch(buffer);
        inputs.upload(batch);
        executor.run(RunPlan.EVAL, batch.targets());
      }
      targets += step.targetTokens();
    }
    double[] loss = {state.result(executor.stream()).lossSum()};
    ranks.sum(Axis.DATA, loss);
    return new Result(loss[0] / targets, targets);
  }
}
