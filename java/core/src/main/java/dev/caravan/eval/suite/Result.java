package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/**
 * One number with the protocol that it was measured by.
 *
 * @param metric its name; behind a slash the group, where it is that of one
 * @param value percent
 * @param n questions that it is the mean of
 * @param split which part of the benchmark
 * @param shots exemplars before a question
 * @param scoring how an answer was scored, and how questions were averaged
 * @param promptSha256 SHA-256 of all prompts (and options) as they were put, each ended by a zero
 *     byte
 * @param chance what guessing would score, percent; 0 where answers are not to be guessed
 * @param counts questions that were not put as the protocol says
 * @param notes what a reader has to know
 */
public record Result(
    String metric,
    double value,
    int n,
    String split,
    int shots,
    String scoring,
    String promptSha256,
    double chance,
    Counts counts,
    List<String> notes) {

  /**
   * Questions that were not put as the protocol says.
   *
   * @param fewerShots had exemplars left out, because the whole did not fit the model's context
   * @param skipped were left out, because they did not fit even without exemplars
   * @param cut whose answer ended at the model's context or the longest answer
   */
  public record Counts(int fewerShots, int skipped, int cut) {}

  /** As the eval verb writes it. */
  public ObjectNode json() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("metric", metric);
    json.put("value", value);
    json.put("unit", "percent");
    json.put("n", n);
    json.put("split", split);
    json.put("shots", shots);
    json.put("scoring", scoring);
    json.put("prompt_sha256", promptSha256);
    json.put("chance", chance);
    json.put("fewer_shots", counts.fewerShots);
    json.put("skipped", counts.skipped);
    json.put("cut", counts.cut);
    if (!notes.isEmpty()) {
      notes.forEach(json.putArray("notes")::add);
    }
    return json;
  }
}
