package dev.caravan.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.eval.AnswerMetric;
import dev.caravan.eval.ExactMatch;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.BooleanSupplier;

/**
 * What a run taught, for recipes with {@code eval.exact_match}: the model answers the same
 * instructions before the first step and after the last, with the same decoding. Prints a few
 * answers, the share that is exactly right of each set and of all, and writes report.json to the
 * run folder.
 */
final class BeforeAndAfter {
  /** Answers that are shown, spread evenly over the first set. */
  private static final int SHOWN = 3;

  private final RunConfig config;
  private final ExactMatch questions;
  private final DeviceChoice choice;
  private final PrintStream out;
  private Map<String, List<ExactMatch.Answer>> before = Map.of();
  private Map<String, List<ExactMatch.Answer>> after = Map.of();

  private BeforeAndAfter(RunConfig config, DeviceChoice choice, PrintStream out) {
    this.config = config;
    this.choice = choice;
    this.out = out;
    questions = new ExactMatch(config, ModelSource.of(config.model()).config());
  }

  /**
   * Reads the run's instructions.
   *
   * @param choice where the answers are made
   * @return empty where the run has none
   */
  static Optional<BeforeAndAfter> of(RunConfig config, DeviceChoice choice) {
    if (!config.eval().asks()) {
      return Optional.empty();
    }
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    return Optional.of(new BeforeAndAfter(config, choice, out));
  }

  /** Lets the run's model answer; false if asked to stop. */
  boolean before(BooleanSupplier stop) {
    before = questions.answer(ModelSource.of(config.model()), choice, stop);
    if (before.isEmpty()) {
      return false;
    }
    out.println("Before training:");
    show(before);
    return true;
  }

  /** Lets the trained model answer the same; false if asked to stop. */
  boolean after(Path checkpoint, BooleanSupplier stop) {
    after = questions.answer(ModelSource.folder(checkpoint), choice, stop);
    return !after.isEmpty();
  }

  /** What a checkpoint on the way answers: percent by metric and set; empty if asked to stop. */
  Map<String, Map<String, Double>> at(Path checkpoint, BooleanSupplier stop) {
    Map<String, Map<String, Double>> scores = new TreeMap<>();
    questions
        .answer(ModelSource.folder(checkpoint), choice, stop)
        .forEach(
            (set, answers) -> {
              for (AnswerMetric metric : questions.metrics(set)) {
                scores
                    .computeIfAbsent(metric.id(), id -> new LinkedHashMap<>())
                    .put(set, percent(metric, answers));
              }
            });
    return scores;
  }

  /** Prints what has changed and writes report.json; both rounds are done. */
  void report() {
    out.println("After training:");
    show(after);
    ObjectNode report = JsonNodeFactory.instance.objectNode();
    put(report, List.of(AnswerMetric.EXACT_MATCH), all(before), all(after));
    ObjectNode sets = report.putObject("sets");
    before.forEach(
        (name, answers) -> {
          ObjectNode set = sets.putObject(name);
          put(set, questions.metrics(name), answers, after.get(name));
          if (questions.tooLong(name) > 0) {
            set.put("too_long", questions.tooLong(name));
          }
        });
    report.put("max_new_tokens", questions.maxNewTokens());
    report.put("temperature", 0);
    write(report);
    for (var set : sets.properties()) {
      StringBuilder line = new StringBuilder(set.getKey());
      line.append(": ").append(set.getValue().get("instructions").asInt()).append(" instructions");
      if (set.getValue().has("too_long")) {
        line.append(" (").append(set.getValue().get("too_long").asInt()).append(" too long)");
      }
      for (AnswerMetric metric : questions.metrics(set.getKey())) {
        line.append(
            String.format(
                Locale.ROOT,
                ", %s before %.1f %%, after %.1f %%",
                metric.words(),
                set.getValue().get(metric.id() + "_before").asDouble(),
                set.getValue().get(metric.id() + "_after").asDouble()));
      }
      out.println(line);
    }
    print("before", report);
    print("after", report);
  }

  private void print(String when, ObjectNode report) {
    double percent = report.get("exact_match_" + when).asDouble();
    out.printf(Locale.ROOT, "exact match %s: %.1f %%%n", when, percent);
  }

  private void show(Map<String, List<ExactMatch.Answer>> answers) {
    List<ExactMatch.Answer> first = answers.values().iterator().next();
    int count = Math.min(SHOWN, first.size());
    for (int i = 0; i < count; i++) {
      ExactMatch.Answer answer = first.get((2 * i + 1) * first.size() / (2 * count));
      out.printf(
          "  %s  ->  %s  (%s)%n",
          oneLine(answer.item().promptText()),
          oneLine(answer.given()),
          answer.right() ? "right" : "wrong, expected: " + answer.item().expected());
    }
  }

  private static String oneLine(String text) {
    return text.strip().replaceAll("\\s+", " ");
  }

  private static void put(
      ObjectNode to,
      List<AnswerMetric> metrics,
      List<ExactMatch.Answer> before,
      List<ExactMatch.Answer> after) {
    to.put("instructions", before.size());
    for (AnswerMetric metric : metrics) {
      to.put(metric.id() + "_before", percent(metric, before));
      to.put(metric.id() + "_after", percent(metric, after));
    }
  }

  /** To a tenth, as it is printed. */
  private static double percent(AnswerMetric metric, List<ExactMatch.Answer> answers) {
    return Math.round(10 * metric.percent(answers)) / 10.0;
  }

  private static List<ExactMatch.Answer> all(Map<String, List<ExactMatch.Answer>> sets) {
    return sets.values().stream().flatMap(Collection::stream).toList();
  }

  private void write(ObjectNode report) {
    try {
      byte[] json = new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsBytes(report);
      DurableFiles.replace(config.output().resolve("report.json"), json);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
