package dev.caravan.train;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.doctor.Finding;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.MicroBatch;
import dev.caravan.data.pack.PackStatistics;
import dev.caravan.data.pack.PairShape;
import dev.caravan.data.pack.PairSource;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSource;
import dev.caravan.data.task.DecodedRow;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.data.task.RowStatistics;
import dev.caravan.data.task.TruncationReport;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * What training would see, found without a device.
 *
 * @param files what happened to the rows of each file
 * @param rows lengths and targets of the rows that are left
 * @param packing how the first steps fill their buffers; empty where there are pairs
 * @param pairs of an encoder-decoder: lengths of both sides, and how the first steps fill both
 *     buffers
 * @param steps optimizer steps of the run
 * @param mixture what is drawn from a mixture, where the run names one
 * @param first the documents of the first buffer, as given and learnt text
 * @param tasks of a mixture, lengths and losses of each task's first examples
 * @param phrasings of a mixture, a row in each phrasing of the tasks that are drawn most
 * @param findings what may be wrong with the data, serious ones first
 */
public record Preview(
    TruncationReport files,
    RowStatistics rows,
    Optional<PackStatistics> packing,
    Optional<PairPreview> pairs,
    long steps,
    Optional<MixtureReport> mixture,
    List<Document> first,
    List<TaskShare> tasks,
    List<Phrasing> phrasings,
    List<Finding> findings) {
  private static final int STEPS_LOOKED_AT = 64;
  private static final int DOCUMENTS_SHOWN = 4;

  /** Of a mixture, whose rows are made when they are drawn. */
  private static final int ROWS_LOOKED_AT = 4096;

  private static final int TASKS_SHOWN = 20;
  private static final int PHRASINGS_SHOWN = 20;

  /**
   * A document of a packed buffer.
   *
   * @param example its number in the endless order of examples
   * @param row its text in runs
   */
  public record Document(long example, DecodedRow row) {}

  /**
   * A row in one of its task's phrasings.
   *
   * @param task its name
   * @param template the phrasing's name
   * @param where FILE:LINE
   * @param row its text in runs
   */
  public record Phrasing(String task, String template, String where, DecodedRow row) {}

  /** Whether training on this data makes no sense. */
  public boolean isSerious() {
    return findings.stream().anyMatch(Finding::isSerious);
  }

  /**
   * Reads and packs a run's data.
   *
   * @throws UserError if the data is bad, or if nothing of it would be learnt
   */
  public static Preview of(RunConfig config) {
    Optional<PairModel> pairs = PairModel.of(config.model());
    if (pairs.isPresent()) {
      return ofPairs(config, pairs.get());
    }
    try (RunData data =
            RunData.load(
                config, ModelSource.of(config.model()).config().vocab(), note -> {});
        Tokenizer tokenizer = tokenizerOrNull(config)) {
      return of(config, data, tokenizer);
    }
  }

  private static Preview of(RunConfig config, RunData data, Tokenizer tokenizer) {
    RowSet rows = data.train().rows();
    int tokens =
        config
            .train()
            .microBatchTokens()
            .orElse(TrainingRun.defaultMicroBatch(config, data.lengths().mean()));
    BufferShape shape =
        BufferShape.of(
            tokens, config.sequence().length(), config.sequence().packing(), rows.minLength(), 0);
    StepSource source = TrainingRun.source(config, rows, shape);
    long steps =
        config.train().steps().isPresent()
            ? config.train().steps().getAsInt()
            : source.stepsOf(config.train().epochs().orElseThrow());
    PackStatistics packing = PackStatistics.of(source, (int) Math.min(STEPS_LOOKED_AT, steps));
    if (packing.targetTokens() == 0) {
      throw new UserError("nothing would be learnt: no row of the first steps has a target");
    }
    Optional<MixtureReport> mixture =
        data.mixture().map(drawn -> RunMixture.report(config, drawn, steps));
    RowStatistics statistics =
        RowStatistics.of(data.mixture().isPresent() ? new FirstRows(rows, ROWS_LOOKED_AT) : rows);
    return new Preview(
        data.train().report(),
        statistics,
        Optional.of(packing),
        Optional.empty(),
        steps,
        mixture,
        first(config, rows, source, tokenizer),
        data.mixture().map(drawn -> TaskShare.of(drawn, ROWS_LOOKED_AT)).orElse(List.of()),
        data.mixture().map(drawn -> phrasings(drawn, tokenizer)).orElse(List.of()),
        new Doctor(config, data, tokenizer).findings(mixture, ROWS_LOOKED_AT));
  }

  /** Of an encoder-decoder, whose data is always a mixture, if only of one task. */
  private static Preview ofPairs(RunConfig config, PairModel model) {
    try (Mixture mixture =
            RunMixture.loadPairs(config, model.vocab(), RunCache.of(config, note -> {}));
        Tokenizer tokenizer = tokenizerOrNull(config)) {
      RowSet rows = mixture.rows();
      PairShape shape = PairPreview.shape(config, model, mixture);
      PairSource source = PairPreview.source(config, mixture, shape);
      long steps =
          config.train().steps().isPresent()
              ? config.train().steps().getAsInt()
              : source.stepsOf(config.train().epochs().orElseThrow());
      PairPreview pairs =
          PairPreview.of(
              source,
              shape,
              mixture.rows().pairs(),
              Math.min(STEPS_LOOKED_AT, steps),
              ROWS_LOOKED_AT);
      if (pairs.packing().targets() == 0) {
        throw new UserError("nothing would be learnt: no row of the first steps has a target");
      }
      RunData data =
          new RunData(
              new LoadedRows(rows, new TruncationReport(List.of())),
              Optional.empty(),
              Map.of(),
              Optional.of(mixture));
      Optional<MixtureReport> report =
          Optional.of(RunMixture.report(config, mixture, steps));
      List<Document> documents = new ArrayList<>();
      for (long example : PairPreview.first(source, DOCUMENTS_SHOWN)) {
        documents.add(document(example, rows.row((int) example), tokenizer));
      }
      return new Preview(
          data.train().report(),
          RowStatistics.of(new FirstRows(rows, ROWS_LOOKED_AT)),
          Optional.empty(),
          Optional.of(pairs),
          steps,
          report,
          documents,
          TaskShare.of(mixture, ROWS_LOOKED_AT),
          phrasings(mixture, tokenizer),
          new Doctor(config, data, tokenizer).findings(report, ROWS_LOOKED_AT));
    }
  }

  private static Document document(long example, Row row, Tokenizer tokenizer) {
    return new Document(example, tokenizer == null ? ids(row) : DecodedRow.of(row, tokenizer));
  }

  private static List<Phrasing> phrasings(Mixture mixture, Tokenizer tokenizer) {
    double[] rates = mixture.rates();
    List<Integer> most =
        IntStream.range(0, rates.length)
            .boxed()
            .sorted(Comparator.comparingDouble((Integer t) -> -rates[t]))
            .limit(TASKS_SHOWN)
            .toList();
    List<Phrasing> all = new ArrayList<>();
    for (int task : most) {
      for (Mixture.Phrased p : mixture.phrasings(task, PHRASINGS_SHOWN)) {
        DecodedRow row = tokenizer == null ? ids(p.row()) : DecodedRow.of(p.row(), tokenizer);
        all.add(new Phrasing(p.task(), p.template(), p.where(), row));
      }
    }
    return all;
  }

  private static List<Document> first(
      RunConfig config, RowSet rows, StepSource source, Tokenizer tokenizer) {
    Step step = source.newStep();
    source.fill(0, step);
    MicroBatch batch = step.microBatch(0);
    List<Document> documents = new ArrayList<>();
    for (int d = 0; d < Math.min(DOCUMENTS_SHOWN, batch.documents()); d++) {
      long example = batch.example(d);
      Row row = rows.row(TrainingRun.order(config, rows).rowAt(example));
      documents.add(document(example, row, tokenizer));
    }
    return documents;
  }

  /** Rows of token ids can be looked at without a tokenizer. */
  private static Tokenizer tokenizerOrNull(RunConfig config) {
    try {
      return RunData.tokenizer(config);
    } catch (UserError e) {
      return null;
    }
  }

  /** A row whose text is its ids. */
  private static DecodedRow ids(Row row) {
    List<DecodedRow.Span> spans = new ArrayList<>();
    for (int from = 0; from < row.length(); ) {
      boolean target = from > 0 && row.labels()[from] != Row.NO_TARGET;
      List<Integer> ids = new ArrayList<>();
      while (from < row.length() && target == (from > 0 && row.labels()[from] != Row.NO_TARGET)) {
        ids.add(row.inputIds()[from++]);
      }
      String text = ids.stream().map(String::valueOf).collect(Collectors.joining(" ", "", " "));
      spans.add(new DecodedRow.Span(text, ids, target));
    }
    return new DecodedRow(spans);
  }
}
