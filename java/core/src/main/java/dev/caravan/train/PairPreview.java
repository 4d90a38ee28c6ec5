package dev.caravan.train;

import dev.caravan.data.PairSet;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.PairBatch;
import dev.caravan.data.pack.PairShape;
import dev.caravan.data.pack.PairSource;
import dev.caravan.data.pack.PairStatistics;
import dev.caravan.data.pack.PairStep;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.task.Distribution;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * How the examples of a run become pairs of source and target, and how these fill the buffers of an
 * encoder and a decoder.
 *
 * @param shape of the buffers
 * @param packing how the first steps fill them
 * @param sources tokens of a source
 * @param targets tokens of a target
 */
public record PairPreview(
    PairShape shape, PairStatistics packing, Distribution sources, Distribution targets) {

  /** Lengths of the first examples, those left out that have nothing to teach. */
  static PairPreview of(PairSource source, PairShape shape, PairSet pairs, long steps, int most) {
    int[] kept =
        IntStream.range(0, Math.min(most, pairs.size()))
            .filter(k -> pairs.targetLength(k) > 0)
            .toArray();
    return new PairPreview(
        shape,
        PairStatistics.of(source, Math.toIntExact(steps)),
        Distribution.of(IntStream.of(kept).map(pairs::sourceLength)),
        Distribution.of(IntStream.of(kept).map(pairs::targetLength)));
  }

  /**
   * The buffers of a run: {@code train.micro_batch_tokens} of the encoder, and as much of the
   * decoder as the two lengths are to each other, as T5X packs.
   */
  static PairShape shape(RunConfig config, PairModel model, Mixture mixture) {
    RunConfig.Sequence lengths = config.sequence();
    double mean = (double) mixture.rows().totalTokens() / Math.max(1, mixture.rows().size());
    int sources =
        config.train().microBatchTokens().orElse(TrainingRun.defaultMicroBatch(config, mean));
    long targets =
        ((long) sources * lengths.targetLength() + lengths.length() - 1) / lengths.length();
    boolean packing = lengths.packing();
    return new PairShape(
        sources,
        (int) Math.max(lengths.targetLength(), targets),
        lengths.length(),
        lengths.targetLength(),
        packing,
        packing ? sources : Math.max(1, sources / lengths.length()),
        model.padId(),
        model.startId());
  }

  static PairSource source(RunConfig config, Mixture mixture, PairShape shape) {
    StepSize size =
        config.train().examplesPerStep().isPresent()
            ? StepSize.examples(config.train().examplesPerStep().getAsInt())
            : StepSize.tokens(config.train().tokensPerStep().orElseThrow());
    return new PairSource(
        mixture.rows().pairs(), ExampleOrder.drawn(mixture.rows().size()), size, shape);
  }

  /** The example numbers of the first documents of the first buffer. */
  static List<Long> first(PairSource source, int most) {
    PairStep step = source.newStep();
    source.fill(0, step);
    List<Long> examples = new ArrayList<>();
    if (step.microBatches() > 0) {
      PairBatch batch = step.microBatch(0);
      for (int d = 0; d < Math.min(most, batch.documents()); d++) {
        examples.add(batch.example(d));
      }
    }
    return examples;
  }
}
