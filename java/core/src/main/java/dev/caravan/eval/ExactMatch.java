package dev.caravan.eval;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.AnswerChoice;
import dev.caravan.data.mix.HeldOutRows;
import dev.caravan.data.mix.TaskMetric;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.eval.suite.Ranker;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.model.DecoderConfig;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunData;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.function.BooleanSupplier;

/**
 * Instructions with one right answer each, in named sets. A model answers them greedily, at float32
 * on any device; an answer is right if, up to the end token and without spaces around it, it is the
 * expected text. An answer may have one token more than the longest expected one, end token
 * included, so one that is cut there is wrong however it would go on.
 */
public final class ExactMatch {
  /**
   * An instruction.
   *
   * @param prompt token ids that the model is given
   * @param promptText the same in words
   * @param expected the right answer
   * @param alternatives other answers that an overlap of words may be measured against
   * @param choice the answers among which it chooses, where these are ranked
   */
  public record Item(
      int[] prompt,
      String promptText,
      String expected,
      List<String> alternatives,
      Optional<AnswerChoice> choice) {
    /** The right answer, and the alternatives. */
    List<String> references() {
      List<String> all = new ArrayList<>(alternatives);
      all.add(expected);
      return all;
    }
  }

  /**
   * What a model answered.
   *
   * @param item to which instruction
   * @param given its answer
   * @param logprobs the log-likelihood of each of the instruction's options; empty where none are
   *     ranked
   */
  public record Answer(Item item, String given, double[] logprobs) {
    /** Whether it is exactly what was expected. */
    public boolean right() {
      return given.equals(item.expected);
    }
  }

  private final Map<String, List<Item>> sets = new LinkedHashMap<>();
  private final Map<String, List<AnswerMetric>> metrics = new HashMap<>();
  private final Map<String, Integer> tooLong = new HashMap<>();
  private final RunConfig config;
  private final int longestPrompt;
  private final int maxNewTokens;

  /**
   * Reads the sets of {@code eval.exact_match}, in the run's format and template, and the mixture's
   * held-out tasks, in their own, where {@code eval.exact_match_held_out} wants them.
   *
   * @param model of the tokenizer and vocabulary
   * @throws UserError if a file is missing, malformed or empty, if a row has no answer, or one that
   *     does not fit the model's context with its prompt
   */
  public ExactMatch(RunConfig config, DecoderConfig model) {
    this.config = config;
    int prompts = 0;
    int answers = 0;
    try (Tokenizer tokenizer = RunData.tokenizer(config)) {
      Map<String, RowSet> asked = new LinkedHashMap<>();
      Map<String, HeldOutRows> tasks = new HashMap<>();
      config
          .eval()
          .exactMatch()
          .forEach((name, file) -> asked.put(name, RunData.forAnswers(config, file, model)));
      if (config.eval().exactMatchHeldOut()) {
        Map<String, List<TaskMetric>> named = RunData.metrics(config);
        RunData.heldOutAnswers(config, model, tokenizer)
            .forEach(
                (name, task) -> {
                  if (asked.putIfAbsent(name, task.rows()) == null) {
                    tasks.put(name, task);
                    metrics.put(name, all(named.get(name)));
                    tooLong.put(name, task.tooLong());
                  }
                });
      }
      for (var set : asked.entrySet()) {
        RowSet rows = set.getValue();
        Optional<HeldOutRows> task = Optional.ofNullable(tasks.get(set.getKey()));
        List<AnswerChoice> choices = task.map(HeldOutRows::choices).orElse(List.of());
        List<List<String>> alternatives = task.map(HeldOutRows::alternatives).orElse(List.of());
        List<Item> items = new ArrayList<>();
        for (int row = 0; row < rows.size(); row++) {
          Item item =
              item(
                  rows.row(row),
                  rows.where(row),
                  tokenizer,
                  alternatives.isEmpty() ? List.of() : alternatives.get(row),
                  choices.isEmpty() ? Optional.empty() : Optional.of(choices.get(row)));
          items.add(item);
          prompts = Math.max(prompts, item.prompt.length);
          answers = Math.max(answers, rows.length(row) - item.prompt.length);
        }
        sets.put(set.getKey(), List.copyOf(items));
      }
    }
    longestPrompt = prompts;
    maxNewTokens = answers + 1;
  }

  /** The prompt is what comes before the first target; the expected answer is the targets. */
  private static Item item(
      Row row,
      String where,
      Tokenizer tokenizer,
      List<String> alternatives,
      Optional<AnswerChoice> choice) {
    int first = 0;
    while (first < row.length() && row.labels()[first] < 0) {
      first++;
    }
    if (first == 0 || first == row.length()) {
      throw new UserError(where + ": needs a prompt and an answer");
    }
    int[] ids = row.inputIds();
    int[] prompt = Arrays.copyOf(ids, first);
    return new Item(
        prompt,
        tokenizer.decode(prompt),
        tokenizer.decode(Arrays.copyOfRange(ids, first, ids.length)).strip(),
        alternatives,
        choice);
  }

  /** The sets by name, in the run file's order. */
  public Map<String, List<Item>> sets() {
    return sets;
  }

  /** How a set's answers are scored: exactly, and by what its task names besides. */
  public List<AnswerMetric> metrics(String set) {
    return metrics.getOrDefault(set, List.of(AnswerMetric.EXACT_MATCH));
  }

  /** Rows of a set's task that would have been asked, but do not fit the model's context. */
  public int tooLong(String set) {
    return tooLong.getOrDefault(set, 0);
  }

  private static List<AnswerMetric> all(List<TaskMetric> named) {
    return Arrays.stream(AnswerMetric.values())
        .filter(metric -> metric == AnswerMetric.EXACT_MATCH || named.contains(metric.named()))
        .toList();
  }

  /** Tokens of an answer at most, end token included. */
  public int maxNewTokens() {
    return maxNewTokens;
  }

  /**
   * Lets a model answer everything, and then finds how likely it holds the options that are ranked.
   *
   * @param model the model; its folder may be another than the run's, its tokenizer is the run's
   * @param choice where
   * @param stop asked before every instruction, and while options are ranked; true ends the work
   * @return the answers by set, in order; an empty map if stopped
   */
  public Map<String, List<Answer>> answer(
      ModelSource model, DeviceChoice choice, BooleanSupplier stop) {
    Map<String, List<Answer>> answers = new LinkedHashMap<>();
    int length = Math.min(longestPrompt + maxNewTokens, model.config().maxPosition());
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    try (Tokenizer tokenizer = RunData.tokenizer(config);
        Stream stream = Stream.open(choice.device(), choice.threads());
        Generator generator = new Generator(model, length, DType.F32, stream)) {
      Set<Integer> stops = new HashSet<>(model.config().eosIds());
      Arrays.stream(tokenizer.stopIds()).forEach(stops::add);
      for (var set : sets.entrySet()) {
        List<Answer> given = new ArrayList<>();
        for (Item item : set.getValue()) {
          if (stop.getAsBoolean()) {
            return Map.of();
          }
          int[] ids = greedy(generator, item.prompt, length, stops);
          given.add(new Answer(item, tokenizer.decode(ids).strip(), new double[0]));
        }
        answers.put(set.getKey(), given);
      }
    }
    return rank(answers, model, choice, stop);
  }

  private Map<String, List<Answer>> rank(
      Map<String, List<Answer>> answers,
      ModelSource model,
      DeviceChoice choice,
      BooleanSupplier stop) {
    List<Ranker.Options> options =
        sets.values().stream()
            .flatMap(List::stream)
            .flatMap(item -> item.choice.map(among -> options(item, among)).stream())
            .toList();
    if (options.isEmpty()) {
      return answers;
    }
    Iterator<double[]> logprobs;
    try (Tokenizer tokenizer = RunData.tokenizer(config);
        Stream stream = Stream.open(choice.device(), choice.threads())) {
      Ranker ranker = new Ranker(model, tokenizer, DType.F32, stream);
      logprobs = ranker.score(options, done -> endIf(stop)).iterator();
    } catch (CancellationException e) {
      return Map.of();
    }
    answers.replaceAll(
        (set, given) ->
            given.stream()
                .map(
                    answer ->
                        answer.item.choice.isEmpty()
                            ? answer
                            : new Answer(answer.item, answer.given, logprobs.next()))
                .toList());
    return answers;
  }

  private static Ranker.Options options(Item item, AnswerChoice choice) {
    int[][] prompts = new int[choice.ids().length][];
    Arrays.fill(prompts, item.prompt);
    return new Ranker.Options(prompts, choice.ids());
  }

  private static void endIf(BooleanSupplier stop) {
    if (stop.getAsBoolean()) {
      throw new CancellationException();
    }
  }

  private int[] greedy(Generator generator, int[] prompt, int length, Set<Integer> stops) {
    Sampler sampler = new Sampler(0, 1, 0);
    generator.reset();
    int room = Math.min(maxNewTokens, length - prompt.length);
    int[] made = new int[room];
    FloatBuffer logits = generator.append(prompt);
    for (int count = 0; count < room; count++) {
      int token = sampler.next(logits);
      if (stops.contains(token)) {
        return Arrays.copyOf(made, count);
      }
      made[count] = token;
      if (count + 1 < room) {
        logits = generator.append(token);
      }
    }
    return made;
  }
}
