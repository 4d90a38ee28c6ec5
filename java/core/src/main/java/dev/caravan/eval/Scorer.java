package dev.caravan.eval;

import dev.caravan.data.RowSet;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.graph.Executor;
import dev.caravan.graph.Graph;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.StepState;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.nn.Inputs;
import dev.caravan.tensor.TensorType;
import dev.caravan.train.InputBuffer;
import dev.caravan.train.ModelSource;
import java.nio.FloatBuffer;
import java.util.Map;
import java.util.function.Consumer;

/** The log-probability that a model gives to every target of given rows. */
public final class Scorer implements AutoCloseable {
  /**
   * One row.
   *
   * @param nllSum negative log-likelihood of all its targets, nats
   * @param logprobs natural log of each target's probability, in order
   */
  public record Score(double nllSum, double[] logprobs) {
    /** How many targets the row has. */
    public int targets() {
      return logprobs.length;
    }
  }

  private static final String SCORE = "score";
  private static final int TOKENS = 1024;
  private static final int ROWS_AT_ONCE = 64;
  private static final int CHUNK = 128;

  private final BufferShape shape;
  private final Executor executor;
  private final StepState state;
  private final InputBuffer inputs;
  private final TensorRef result;
  private final Memory host;
  private final FloatBuffer nll;

  /**
   * Loads the model.
   *
   * @param longest most tokens of a row, at most the model's context
   * @param shortest fewest tokens of a row
   * @param storage dtype of weights and activations
   * @param stream of the device to score on; stays open
   */
  public Scorer(ModelSource model, int longest, int shortest, DType storage, Stream stream) {
    shape = BufferShape.of(Math.max(TOKENS, longest), longest, true, Math.max(1, shortest), 0);
    LlamaGraphs graphs = new LlamaGraphs(model.config(), storage, longest);
    Graph graph = graphs.score(shape.tokens(), shape.maxDocuments(), CHUNK);
    executor = new Executor(new Plan(Map.of(SCORE, graph), stream.device().kind()), stream);
    state =
        new StepState(
            executor.leaf(Inputs.STATE, TensorType.bytes(Inputs.STATE_BYTES)), stream.device());
    Inputs in = Inputs.packed(new Graph(), shape.tokens(), shape.maxDocuments());
    inputs = new InputBuffer(executor.plan(), in, executor.inputs(), stream);
    result = executor.tensor(SCORE, graph.results().get(0));
    host = Memory.staging(stream.device(), result.bytes());
    nll = host.view(0, Math.toIntExact(result.bytes())).asFloatBuffer();
    model.load(executor, longest);
  }

  /** Loads the model for these rows, of which none is beyond the model's context. */
  public Scorer(ModelSource model, RowSet rows, DType storage, Stream stream) {
    this(model, Math.max(1, rows.maxLength()), rows.minLength(), storage, stream);
  }

  /**
   * Scores every row, in order.
   *
   * @param rows at least one, within the lengths that the scorer was made for
   */
  public void run(RowSet rows, Consumer<Score> to) {
    StepSource source =
        new StepSource(
            rows, ExampleOrder.sequential(rows.size()), StepSize.examples(ROWS_AT_ONCE), shape);
    state.begin(executor.stream(), 1, 0, 0, 0, 0);
    Step step = source.newStep();
    for (long first = 0; first < rows.size(); first = step.nextK()) {
      source.fill(first, rows.size(), step);
      Score[] scores = new Score[(int) step.examples()];
      for (int i = 0; i < step.microBatches(); i++) {
        MicroBatch batch = step.microBatch(i);
        inputs.upload(batch);
        executor.run(SCORE, batch.targets());
        executor.stream().copy(host.address(), result.address(), result.bytes());
        executor.stream().synchronize();
        for (int d = 0; d < batch.documents(); d++) {
          scores[(int) (batch.example(d) - first)] =
              score(batch.targetStart(d), batch.targetStart(d + 1));
        }
      }
      for (Score score : scores) {
        to.accept(score == null ? new Score(0, new double[0]) : score);
      }
    }
  }

  private Score score(int from, int to) {
    double[] logprobs = new double[to - from];
    double sum = 0;
    for (int i = from; i < to; i++) {
      sum += nll.get(i);
      logprobs[i - from] = 0.0 - nll.get(i);
    }
    return new Score(sum, logprobs);
  }

  @Override
  public void close() {
    host.close();
    inputs.close();
    state.close();
    executor.close();
  }
}
