package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.metric.Averages;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The unweighted mean over benchmarks of how far each is from chance to perfect (Chung et al. 2022,
 * arXiv 2210.11416, section 2.3), of reports that the eval verb wrote.
 *
 * @param value percent; negative where it is worse than guessing
 * @param parts what it is the mean of
 * @param missing parts of the paper's average that no report has
 * @param deviations where the paper's parts were asked otherwise than in the paper
 */
public record NormalizedAverage(
    double value, List<Part> parts, List<String> missing, List<String> deviations) {
  /** The paper's six, by how their metrics' names begin, and their exemplars. */
  private static final Map<String, String> FLAN = new LinkedHashMap<>();

  private static final Map<String, Integer> SHOTS = new HashMap<>();

  static {
    put("mmlu_cot_", "MMLU with reasoning", 5);
    put("mmlu_", "MMLU direct", 5);
    put("bbh_direct_", "BBH direct", 3);
    put("bbh_cot_", "BBH with reasoning", 3);
    put("tydiqa", "TyDiQA", 1);
    put("mgsm", "MGSM", 8);
  }

  private static void put(String prefix, String name, int shots) {
    FLAN.put(prefix, name);
    SHOTS.put(name, shots);
  }

  public NormalizedAverage {
    parts = List.copyOf(parts);
    missing = List.copyOf(missing);
    deviations = List.copyOf(deviations);
  }

  /**
   * A benchmark.
   *
   * @param metric its name, with split and way of asking
   * @param percent as it was measured
   * @param chance what guessing scores, percent
   * @param normalized percent of the way from chance to perfect
   */
  public record Part(String metric, double percent, double chance, double normalized) {}

  /** Whether it is the paper's average: of its six, asked as there, and nothing else. */
  public boolean isFlan() {
    return missing.isEmpty() && deviations.isEmpty() && parts.size() == FLAN.size();
  }

  /**
   * Of reports: each benchmark, and each way of asking it, counts once, by its first metric.
   *
   * @throws UserError for a file that is no report, or two that measure the same
   */
  public static NormalizedAverage of(List<Path> reports) {
    Map<String, Part> parts = new LinkedHashMap<>();
    List<String> deviations = new ArrayList<>();
    for (Path file : reports) {
      JsonNode report;
      try {
        report = new ObjectMapper().readTree(file.toFile());
      } catch (IOException e) {
        throw new UserError(file + ": cannot be read; is it a report of eval --out?", e);
      }
      Map<String, Part> own = new LinkedHashMap<>();
      for (JsonNode result : report.path("results")) {
        String metric = result.path("metric").asText();
        if (!metric.contains("/") && result.path("value").isNumber()) {
          double percent = result.get("value").asDouble();
          double chance = result.path("chance").asDouble();
          String key = benchmark(metric, report.path("suite").asText());
          Part part = new Part(metric, percent, chance, Averages.overChance(percent, chance));
          if (own.putIfAbsent(key, part) == null) {
            deviations.addAll(deviations(key, result));
          }
        }
      }
      if (own.isEmpty()) {
        throw new UserError(file + ": no results; is it a report of eval --out?");
      }
      own.forEach(
          (key, part) -> {
            if (parts.put(key, part) != null) {
              throw new UserError(file + ": " + part.metric() + ": another report has it too");
            }
          });
    }
    List<String> missing = FLAN.values().stream().filter(part -> !parts.containsKey(part)).toList();
    double mean = parts.values().stream().mapToDouble(Part::normalized).average().orElseThrow();
    return new NormalizedAverage(mean, new ArrayList<>(parts.values()), missing, deviations);
  }

  /** What a result says of itself that is not as the paper asks. */
  private static List<String> deviations(String benchmark, JsonNode result) {
    List<String> found = new ArrayList<>();
    Integer shots = SHOTS.get(benchmark);
    if (shots == null) {
      return found;
    }
    String metric = result.path("metric").asText() + ": ";
    if (result.path("shots").asInt(shots) != shots) {
      found.add(metric + result.get("shots").asInt() + " shots in place of " + shots);
    }
    if (result.path("fewer_shots").asInt() > 0) {
      found.add(metric + result.get("fewer_shots").asInt() + " questions with fewer shots");
    }
    if (result.path("skipped").asInt() > 0) {
      found.add(metric + result.get("skipped").asInt() + " questions left out");
    }
    return found;
  }

  /** The paper's name of a benchmark, else the suite's. */
  private static String benchmark(String metric, String suite) {
    for (Map.Entry<String, String> part : FLAN.entrySet()) {
      if (metric.startsWith(part.getKey())) {
        return part.getValue();
      }
    }
    return suite;
  }

  /** As the eval verb writes it. */
  public ObjectNode json() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("metric", isFlan() ? "flan_normalized_average" : "normalized_average");
    json.put("value", value);
    for (Part part : parts) {
      json.withArray("parts")
          .addObject()
          .put("metric", part.metric())
          .put("value", part.percent())
          .put("chance", part.chance())
          .put("normalized", part.normalized());
    }
    missing.forEach(json.putArray("missing_of_flan")::add);
    deviations.forEach(json.putArray("other_than_flan")::add);
    return json;
  }
}
