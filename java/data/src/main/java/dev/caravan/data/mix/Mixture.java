package dev.caravan.data.mix;

import dev.caravan.data.Row;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mixture.MixtureOrder;
import dev.caravan.data.mixture.Rates;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.data.task.PairTokensLoader;
import dev.caravan.data.task.Purpose;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.task.RowLoader;
import dev.caravan.data.task.Task;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.stream.IntStream;

/**
 * A mixture with its data: rates, order and rows. Holds the tokenizer, which it closes.
 *
 * @param spec what it was made from
 * @param names of the tasks, in order
 * @param sizes rows of each task
 * @param rates of each task, summing to 1
 * @param skipped rows of each task that were left out as bad
 * @param copies rows of each task that were left out because the run evaluates on them
 * @param rows its examples
 * @param identity tells this mixture from others: a hash of the file, of all data and of the seed
 * @param tokenizer of its rows; null where all are tokens already
 */
public record Mixture(
    MixtureSpec spec,
    List<String> names,
    long[] sizes,
    double[] rates,
    long[] skipped,
    long[] copies,
    MixtureRows rows,
    String identity,
    Tokenizer tokenizer)
    implements AutoCloseable {
  /**
   * In so many draws a phrasing of ten that are chosen at random is missing once in 10^45 times.
   */
  private static final int DRAWS_LOOKED_AT = 1000;

  /**
   * Reads the data of a mixture.
   *
   * @param tokenizer closed with the mixture; null is enough where all rows are tokens already
   * @param limits of rows
   * @param seed of the order, the phrasings and all other choices
   * @param shuffle whether the rows of a task come in a new order on each visit
   * @throws UserError for bad data; see {@link MixtureSpec.BadRows}
   */
  public static Mixture load(
      MixtureSpec spec, Tokenizer tokenizer, RowLimits limits, long seed, boolean shuffle) {
    return load(spec, tokenizer, limits, seed, shuffle, example -> false, CacheFolder.none());
  }

  /**
   * As above, without some examples, and with what is read of the tasks and what is made of it kept
   * in a cache, and found there the next time. Both then lie outside the heap.
   *
   * @param without examples that are left out; where it leaves out any, {@code wanted} must be
   *     {@linkplain CacheFolder#apart apart} from other choices of them
   */
  public static Mixture load(
      MixtureSpec spec,
      Tokenizer tokenizer,
      RowLimits limits,
      long seed,
      boolean shuffle,
      Predicate<Example> without,
      CacheFolder wanted) {
    List<TaskSpec> specs = spec.trained();
    new MixtureChecks(spec.file(), spec.tasks(), spec.mixes()).splits(specs);
    CacheFolder cache = wanted.isWorthwhile(bytes(specs)) ? wanted : CacheFolder.none();
    TaskRows[] tasks = new TaskRows[specs.size()];
    IntStream.range(0, tasks.length)
        .parallel()
        .forEach(
            t ->
                tasks[t] =
                    rows(specs.get(t), t, spec.badRows(), tokenizer, limits, seed, without, cache));
    List<String> names = specs.stream().map(TaskSpec::name).toList();
    long[] sizes = Arrays.stream(tasks).mapToLong(TaskRows::size).toArray();
    double[] rates = rates(spec, names, sizes);
    MixtureOrder order = new MixtureOrder(rates, sizes, seed, shuffle);
    String identity = Identity.of(spec, specs, sizes, rates, seed, shuffle, cache);
    return new Mixture(
        spec,
        names,
        sizes,
        rates,
        Arrays.stream(tasks).mapToLong(TaskRows::skipped).toArray(),
        Arrays.stream(tasks).mapToLong(TaskRows::copies).toArray(),
        new MixtureRows(
            names,
            Arrays.asList(tasks),
            order,
            epoch(spec.stop(), order, sizes),
            limits.maxTokens(),
            Estimate.of(tasks, rates),
            blocks(cache, identity, tokenizer, limits)),
        identity,
        tokenizer);
  }

  /**
   * The first rows of every task that is held out, by the task's name, in its first phrasing or,
   * where these are chosen at random, each in one that the seed chooses; rows that do not fit whole
   * are left out, and counted.
   *
   * @param tokenizer null is enough where all rows are tokens already
   * @param most rows of a task
   * @throws UserError for bad data; see {@link MixtureSpec.BadRows}
   */
  public static Map<String, HeldOutRows> heldOut(
      MixtureSpec spec, Tokenizer tokenizer, RowLimits limits, long seed, int most) {
    Map<String, HeldOutRows> all = new LinkedHashMap<>();
    for (TaskSpec task : spec.tasks().values()) {
      if (!task.heldOut() || task.paths().isEmpty()) {
        continue;
      }
      TaskRows rows =
          rows(
              task,
              0,
              spec.badRows(),
              tokenizer,
              limits,
              seed,
              example -> false,
              CacheFolder.none());
      HeldOutRows kept = HeldOutRows.of(task, rows, limits.maxTokens(), most);
      if (kept.rows().size() > 0) {
        all.put(task.name(), kept);
      }
    }
    return all;
  }

  /** Whether some task of the mixture holds words, which need a tokenizer. */
  public static boolean hasWords(MixtureSpec spec) {
    return spec.trained().stream()
        .anyMatch(
            task ->
                DataFiles.resolve(task.paths()).stream()
                    .anyMatch(file -> formatOf(task, file) != Format.TOKENS));
  }

  private static Format formatOf(TaskSpec task, Path file) {
    return ExampleReader.formatOf(file, task.format(), task.fields());
  }

  private static TaskRows rows(
      TaskSpec task,
      int number,
      MixtureSpec.BadRows badRows,
      Tokenizer tokenizer,
      RowLimits limits,
      long seed,
      Predicate<Example> without,
      CacheFolder cache) {
    Format format = formatOf(task, DataFiles.resolve(task.paths()).get(0));
    if (limits.isPairs() && format == Format.TEXT) {
      throw new UserError(
          "task '"
              + task.name()
              + "': text has no target of its own, which an encoder-decoder needs");
    }
    if (limits.isPairs() && format == Format.TOKENS) {
      return TaskRows.of(
          PairTokensLoader.load(
                  DataFiles.resolve(task.paths()),
                  limits.maxTokens(),
                  limits.targetTokens(),
                  limits.vocabSize())
              .pairs());
    }
    if (format == Format.TEXT || format == Format.TOKENS) {
      Task whole = new Task(task.paths(), format, task.fields(), Optional.empty());
      LoadedRows loaded = RowLoader.load(whole, tokenizer, limits, Purpose.TRAIN, without, cache);
      return TaskRows.of(loaded.rows(), loaded.report().total().copies());
    }
    List<Template> templates = templates(task, format, tokenizer);
    ExampleSet examples = TaskExamples.read(task, badRows, templates, without, cache);
    if (examples.size() == 0) {
      throw new UserError("task '" + task.name() + "' has no rows that are not evaluated on");
    }
    return new WordedRows(task, examples, templates, tokenizer, limits, seed + number);
  }

  /** The phrasings of a task; its format's own where it names none, none of text and of tokens. */
  public static List<Template> templates(TaskSpec task, Tokenizer tokenizer) {
    return templates(task, formatOf(task, DataFiles.resolve(task.paths()).get(0)), tokenizer);
  }

  private static List<Template> templates(TaskSpec task, Format format, Tokenizer tokenizer) {
    if (format == Format.TEXT || format == Format.TOKENS) {
      return List.of();
    }
    return task.templates().isEmpty()
        ? List.of(Templates.forFormat(format, tokenizer))
        : task.templates();
  }

  /** Windows of a mixture whose tokenizer cannot be told from others are not kept. */
  private static BlockCache blocks(
      CacheFolder cache, String identity, Tokenizer tokenizer, RowLimits limits) {
    String tokens = tokenizer == null ? "none" : tokenizer.identity().orElse("");
    return cache == CacheFolder.none() || tokens.isEmpty()
        ? BlockCache.none()
        : new BlockCache(cache, String.join("\n", identity, tokens, limits.toString()));
  }

  private static long bytes(List<TaskSpec> tasks) {
    return tasks.stream()
        .flatMap(task -> DataFiles.resolve(task.paths()).stream())
        .mapToLong(DataFiles::bytes)
        .sum();
  }

  /** A row in one of its task's phrasings. */
  public record Phrased(String task, String template, String where, Row row) {}

  /**
   * A row in each phrasing of a task, as training would see it: the first that has it, and
   * something to teach.
   *
   * @param task its number
   * @param most phrasings
   */
  public List<Phrased> phrasings(int task, int most) {
    List<Template> templates = spec.trained().get(task).templates();
    TaskRows source = rows.tasks().get(task);
    int wanted = Math.min(most, Math.max(1, templates.size()));
    Map<Integer, Phrased> found = new TreeMap<>();
    for (long n = 0; n < DRAWS_LOOKED_AT && found.size() < wanted; n++) {
      long row = n % source.size();
      long visit = n / source.size();
      int phrasing = source.phrasing(row, visit);
      if (phrasing >= wanted || found.containsKey(phrasing)) {
        continue;
      }
      Block.Encoded encoded = source.encode(row, visit);
      if (encoded.length() > 0) {
        String name = templates.isEmpty() ? "its format's own" : templates.get(phrasing).name();
        int[] ids = Arrays.copyOf(encoded.ids(), encoded.length());
        int[] labels = Arrays.copyOf(encoded.labels(), encoded.length());
        Row shown = new Row(ids, labels, row);
        found.put(phrasing, new Phrased(names.get(task), name, source.where(row), shown));
      }
    }
    return List.copyOf(found.values());
  }

  /**
   * The rates of the tasks.
   *
   * @param names of the tasks that are drawn from
   * @param sizes rows of each
   */
  static double[] rates(MixtureSpec spec, List<String> names, long[] sizes) {
    Map<String, Integer> numbers = new HashMap<>();
    for (int t = 0; t < names.size(); t++) {
      numbers.put(names.get(t), t);
    }
    return Rates.flatten(
        node(spec, spec.root(), Double.POSITIVE_INFINITY, numbers, sizes).orElseThrow(),
        names.size());
  }

  /**
   * A task or a mixture.
   *
   * @param cap largest weight of each task below, however deep; infinite for none
   */
  private static Optional<Rates.Node> node(
      MixtureSpec spec, String name, double cap, Map<String, Integer> numbers, long[] sizes) {
    MixSpec mix = spec.mixes().get(name);
    if (mix == null) {
      return Optional.ofNullable(numbers.get(name)).map(Rates.Leaf::new);
    }
    List<Rates.Node> nodes = new ArrayList<>();
    List<Double> given = new ArrayList<>();
    List<Double> partSizes = new ArrayList<>();
    mix.parts()
        .forEach(
            (part, weight) -> {
              double inner = mix.caps().getOrDefault(part, cap);
              node(spec, part, inner, numbers, sizes)
                  .ifPresent(
                      node -> {
                        nodes.add(node);
                        given.add(weight);
                        partSizes.add(size(node, sizes, inner / mix.scale()));
                      });
            });
    if (nodes.isEmpty()) {
      return Optional.empty();
    }
    double[] weights = given.stream().mapToDouble(w -> w).toArray();
    if (mix.strategy() == MixSpec.Strategy.PROPORTIONAL) {
      weights =
          Rates.weights(
              partSizes.stream().mapToDouble(s -> s).toArray(),
              mix.scale(),
              mix.cap(),
              mix.temperature());
    }
    return Optional.of(new Rates.Mix(spec.file() + ".mixtures." + name, nodes, weights));
  }

  /** Rows of a task, up to a cap; of a mixture, those of its tasks together. */
  private static double size(Rates.Node node, long[] sizes, double cap) {
    if (node instanceof Rates.Leaf leaf) {
      return Math.min(sizes[leaf.task()], cap);
    }
    return ((Rates.Mix) node).parts().stream().mapToDouble(part -> size(part, sizes, cap)).sum();
  }

  private static long epoch(MixtureSpec.Stop stop, MixtureOrder order, long[] sizes) {
    var drawn = IntStream.range(0, sizes.length).filter(order::isDrawn);
    return switch (stop) {
      case EPOCHS, STEPS -> drawn.mapToLong(t -> sizes[t]).sum();
      case FIRST_EXHAUSTED ->
          drawn.mapToLong(t -> order.examplesUntil(t, sizes[t])).min().orElseThrow();
      case ALL_EXHAUSTED ->
          drawn.mapToLong(t -> order.examplesUntil(t, sizes[t])).max().orElseThrow();
    };
  }

  @Override
  public void close() {
    rows.close();
    if (tokenizer != null) {
      tokenizer.close();
    }
  }
}
