package dev.caravan.train;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mix.HeldOutRows;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mix.TaskMetric;
import dev.caravan.data.mix.TaskSpec;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.data.task.Purpose;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.task.RowLoader;
import dev.caravan.data.task.Task;
import dev.caravan.data.task.TruncationReport;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import dev.caravan.model.DecoderConfig;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * The rows of a run, tokenized.
 *
 * @param train rows to train on
 * @param heldOut rows to evaluate on, where the run names some
 * @param tasks rows of whole tasks to evaluate on, by name
 * @param mixture that the rows to train on are drawn from, where the run names one
 */
public record RunData(
    LoadedRows train,
    Optional<LoadedRows> heldOut,
    Map<String, LoadedRows> tasks,
    Optional<Mixture> mixture)
    implements AutoCloseable {

  /**
   * Reads the rows of a run.
   *
   * @param vocab token ids of the model are below it
   * @param notes told, in a line, what does not stop the run
   * @throws UserError if rows are malformed, do not fit, or none is left
   */
  public static RunData load(RunConfig config, int vocab, Consumer<String> notes) {
    CacheFolder cache = RunCache.of(config, notes);
    config.requireData();
    RowLimits limits = RowLimits.ofSequence(config.sequence().length(), vocab);
    Optional<Task> heldOut =
        config.eval().data().map(path -> task(config, List.of(path.toString())));
    Map<String, Task> tasks = new LinkedHashMap<>();
    config
        .eval()
        .tasks()
        .forEach((name, path) -> tasks.put(name, task(config, List.of(path.toString()))));
    boolean evaluatesWords =
        heldOut.map(RunData::hasWords).orElse(false)
            || tasks.values().stream().anyMatch(RunData::hasWords);
    Optional<Task> train =
        config.data().mixture().isPresent()
            ? Optional.empty()
            : Optional.of(task(config, config.data().paths()));
    boolean words = evaluatesWords || train.map(RunData::hasWords).orElse(false);
    Optional<LoadedRows> heldOutRows;
    Map<String, LoadedRows> ofTasks = new LinkedHashMap<>();
    Optional<LoadedRows> trainRows;
    try (Tokenizer tokenizer = words ? tokenizer(config) : null) {
      Function<Task, LoadedRows> load =
          task -> RowLoader.load(task, tokenizer, limits, Purpose.TRAIN);
      trainRows =
          train.map(
              task ->
                  RowLoader.load(
                      task, tokenizer, limits, Purpose.TRAIN, Doctor.dropped(config), cache));
      heldOutRows = heldOut.map(load);
      tasks.forEach((name, task) -> ofTasks.put(name, load.apply(task)));
    }
    if (trainRows.isPresent()) {
      if (config.eval().heldOutRows() > 0) {
        throw new UserError("eval.held_out_rows: only a mixture (data.mixture) holds tasks out");
      }
      return new RunData(trainRows.get(), heldOutRows, ofTasks, Optional.empty());
    }
    Mixture mixture = RunMixture.load(config, vocab, cache);
    RunMixture.heldOut(config, mixture, vocab, notes).forEach(ofTasks::putIfAbsent);
    LoadedRows rows = new LoadedRows(mixture.rows(), new TruncationReport(List.of()));
    return new RunData(rows, heldOutRows, ofTasks, Optional.of(mixture));
  }

  @Override
  public void close() {
    mixture.ifPresent(Mixture::close);
  }

  /**
   * Reads the rows that are to be scored: all of them, in order, none cut.
   *
   * @throws UserError if rows are malformed or longer than the model's context
   */
  public static RowSet forScore(RunConfig config, DecoderConfig model) {
    return whole(config, config.data().paths(), model);
  }

  /**
   * Reads a file of instructions that are to be answered, in the run's format and template: all of
   * them, in order, none cut.
   *
   * @throws UserError if rows are malformed or longer than the model's context
   */
  public static RowSet forAnswers(RunConfig config, Path file, DecoderConfig model) {
    return whole(config, List.of(file.toString()), model);
  }

  /**
   * Rows of held-out tasks that are to be answered, by name: those that fit the model's context.
   *
   * @throws UserError if the run's mixture holds none out
   */
  public static Map<String, HeldOutRows> heldOutAnswers(
      RunConfig config, DecoderConfig model, Tokenizer tokenizer) {
    if (config.data().mixture().isEmpty()) {
      throw new UserError(
          "eval.exact_match_held_out: only a mixture (data.mixture) holds tasks out");
    }
    RowLimits limits = new RowLimits(model.maxPosition(), "the model's context", model.vocab());
    return RunMixture.answers(config, limits, tokenizer);
  }

  /** What the tasks of the run's mixture name in {@code metrics}, by the task's name. */
  public static Map<String, List<TaskMetric>> metrics(RunConfig config) {
    return RunMixture.spec(config).tasks().values().stream()
        .collect(Collectors.toMap(TaskSpec::name, task -> task.about().metrics()));
  }

  private static RowSet whole(RunConfig config, List<String> paths, DecoderConfig model) {
    RowLimits limits = new RowLimits(model.maxPosition(), "the model's context", model.vocab());
    Task task = task(config, paths);
    try (Tokenizer tokenizer = hasWords(task) ? tokenizer(config) : null) {
      return RowLoader.load(task, tokenizer, limits, Purpose.SCORE).rows();
    }
  }

  /**
   * Opens the run's tokenizer: the one that it names, else the model folder's.
   *
   * @throws UserError if there is none
   */
  public static Tokenizer tokenizer(RunConfig config) {
    if (config.tokenizer().isPresent()) {
      return Tokenizers.open(config.tokenizer().get());
    }
    if (config.model() instanceof RunConfig.ModelFolder folder) {
      return Tokenizers.open(folder.path());
    }
    throw new UserError("tokenizer: missing; data in words needs a tokenizer file or folder");
  }

  private static Task task(RunConfig config, List<String> paths) {
    RunConfig.Data data = config.data();
    return new Task(paths, data.format(), data.fields(), data.template());
  }

  /** Whether some file holds words, which need a tokenizer. */
  private static boolean hasWords(Task task) {
    for (Path file : DataFiles.resolve(task.paths())) {
      if (ExampleReader.formatOf(file, task.format(), task.fields()) != Format.TOKENS) {
        return true;
      }
    }
    return false;
  }

  /**
   * What a plan needs to know of rows.
   *
   * @param shortest tokens of the shortest row, held-out ones included
   * @param mean tokens of a row on average
   */
  record Lengths(int shortest, double mean) {
    /** Rows that are not known: any number may share a buffer, each may be as long as allowed. */
    static Lengths unknown(RunConfig config) {
      return new Lengths(1, config.sequence().length());
    }
  }

  /** The lengths of the rows. */
  Lengths lengths() {
    int shortest = train.rows().minLength();
    double mean = (double) train.rows().totalTokens() / train.rows().size();
    int withHeldOut =
        heldOut.map(rows -> Math.min(shortest, rows.rows().minLength())).orElse(shortest);
    int shortestOfAll =
        tasks.values().stream()
            .mapToInt(rows -> rows.rows().minLength())
            .reduce(withHeldOut, Math::min);
    return new Lengths(shortestOfAll, mean);
  }
}
