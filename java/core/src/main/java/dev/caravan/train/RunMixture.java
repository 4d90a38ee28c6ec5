package dev.caravan.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mix.HeldOutRows;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mix.MixtureFile;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.mix.MixtureSpec;
import dev.caravan.data.mix.TaskSpec;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.task.TruncationReport;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** The mixture of a run: how it is read, and the file of the run folder that tells of it. */
public final class RunMixture {
  static final String FILE = "mixture.json";
  private static final ObjectMapper JSON = new ObjectMapper();

  private RunMixture() {}

  /**
   * Reads the mixture that {@code data.mixture} names, and its data.
   *
   * @throws UserError for anything that is wrong with it
   */
  static Mixture load(RunConfig config, int vocab, CacheFolder cache) {
    return load(config, spec(config), limits(config, vocab), cache);
  }

  /**
   * The same as pairs for an encoder-decoder; where the run names no mixture, one of a task that is
   * called data.
   *
   * @throws UserError for anything that is wrong with it
   */
  static Mixture loadPairs(RunConfig config, int vocab, CacheFolder cache) {
    config.requireData();
    RunConfig.Data data = config.data();
    MixtureSpec spec =
        data.mixture().isPresent()
            ? spec(config)
            : MixtureSpec.of(
                data.paths(), data.format(), data.fields(), data.template().map(Templates::of));
    RowLimits limits =
        RowLimits.ofPairs(config.sequence().length(), config.sequence().targetLength(), vocab);
    return load(config, spec, limits, cache);
  }

  private static Mixture load(
      RunConfig config, MixtureSpec spec, RowLimits limits, CacheFolder cache) {
    if (spec.stop() == MixtureSpec.Stop.STEPS && config.train().steps().isEmpty()) {
      throw new UserError(spec.file() + ".stop: steps, but the run counts epochs; set train.steps");
    }
    Tokenizer tokenizer = Mixture.hasWords(spec) ? RunData.tokenizer(config) : null;
    try {
      return Mixture.load(
          spec,
          tokenizer,
          limits,
          config.train().seed(),
          config.train().shuffle(),
          Doctor.dropped(config),
          cache);
    } catch (RuntimeException e) {
      if (tokenizer != null) {
        tokenizer.close();
      }
      throw e;
    }
  }

  /** What the run's mixture file says, without the tasks that the run leaves out. */
  static MixtureSpec spec(RunConfig config) {
    MixtureSpec spec = MixtureFile.read(config.data().mixture().orElseThrow(), Cwd::resolvePattern);
    return config.data().tasks().isEmpty() ? spec : spec.only(config.data().tasks(), "data.tasks");
  }

  /**
   * Rows of the mixture's held-out tasks that are to be answered, by the task's name.
   *
   * @param limits of a row
   */
  static Map<String, HeldOutRows> answers(
      RunConfig config, RowLimits limits, Tokenizer tokenizer) {
    return Mixture.heldOut(
        spec(config), tokenizer, limits, config.train().seed(), config.eval().heldOutRows());
  }

  /**
   * The rows of the mixture's held-out tasks that the run evaluates on, by the task's name.
   *
   * @param notes told which tasks have none that fits whole
   * @throws UserError if there are none, though the run wants some
   */
  static Map<String, LoadedRows> heldOut(
      RunConfig config, Mixture mixture, int vocab, Consumer<String> notes) {
    Map<String, LoadedRows> all = new LinkedHashMap<>();
    if (config.eval().heldOutRows() == 0) {
      return all;
    }
    boolean own = mixture.tokenizer() == null && config.tokenizer().isPresent();
    try (Tokenizer opened = own ? RunData.tokenizer(config) : null) {
      Mixture.heldOut(
              mixture.spec(),
              own ? opened : mixture.tokenizer(),
              limits(config, vocab),
              config.train().seed(),
              config.eval().heldOutRows())
          .forEach(
              (name, task) ->
                  all.put(name, new LoadedRows(task.rows(), new TruncationReport(List.of()))));
    }
    List<String> heldOut =
        mixture.spec().tasks().values().stream()
            .filter(task -> task.heldOut() && !task.paths().isEmpty())
            .map(TaskSpec::name)
            .toList();
    if (heldOut.isEmpty()) {
      throw new UserError(
          "eval.held_out_rows: "
              + mixture.spec().file()
              + " holds no task out; name some in held_out, held_out_file or held_out_categories");
    }
    List<String> without = heldOut.stream().filter(name -> !all.containsKey(name)).toList();
    if (!without.isEmpty()) {
      String what =
          "%d of %d held-out tasks have no row that fits sequence.length %d whole: %s"
              .formatted(
                  without.size(),
                  heldOut.size(),
                  config.sequence().length(),
                  String.join(", ", without));
      if (all.isEmpty()) {
        throw new UserError("eval.held_out_rows: " + what);
      }
      notes.accept(what);
    }
    return all;
  }

  private static RowLimits limits(RunConfig config, int vocab) {
    int length = config.sequence().length();
    int perStep = config.train().tokensPerStep().orElse(length);
    return perStep < length
        ? new RowLimits(perStep, "train.tokens_per_step", vocab)
        : RowLimits.ofSequence(length, vocab);
  }

  /** What {@code steps} steps of the run draw. */
  static MixtureReport report(RunConfig config, Mixture mixture, long steps) {
    double perStep =
        config.train().examplesPerStep().isPresent()
            ? config.train().examplesPerStep().getAsInt()
            : MixtureReport.examplesIn(mixture, config.train().tokensPerStep().orElseThrow());
    return MixtureReport.of(mixture, Math.round(steps * perStep));
  }

  /**
   * Refuses to go on with a run whose mixture was another.
   *
   * @throws UserError if the run folder tells of another mixture
   */
  static void check(RunConfig config, MixtureReport now) {
    Path file = config.output().resolve(FILE);
    if (config.checkpoint().resume() == RunConfig.Resume.NEVER || !Files.exists(file)) {
      return;
    }
    String before;
    try {
      JsonNode tree = JSON.readTree(file.toFile());
      before = tree.path("identity").asText();
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    if (!before.equals(now.identity())) {
      throw new UserError(
          config.output()
              + ": holds another run: the files of data.mixture have changed since; choose another"
              + " output, or replace it with checkpoint.resume=never");
    }
  }

  /** Writes what is drawn to the run folder. */
  static void write(Path folder, MixtureReport report) {
    try {
      byte[] bytes = JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(toJson(report));
      DurableFiles.replace(folder.resolve(FILE), bytes);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The report as JSON. */
  public static ObjectNode toJson(MixtureReport report) {
    ObjectNode out = JSON.createObjectNode();
    out.put("mixture", report.mixture()).put("identity", report.identity());
    out.put("examples", report.examples());
    ArrayNode tasks = out.putArray("tasks");
    for (MixtureReport.Line line : report.lines()) {
      tasks
          .addObject()
          .put("task", line.task())
          .put("rows", line.rows())
          .put("skipped", line.skipped())
          .put("evaluated_on", line.copies())
          .put("rate", line.rate())
          .put("repeats", line.repeats())
          .put("tokens_per_row", line.tokensPerRow())
          .put("token_share", line.tokenShare())
          .put("target_share", line.targetShare())
          .put("exemplars", line.exemplars())
          .put("exemplars_left_out", line.exemplarsLeftOut());
    }
    return out;
  }
}
