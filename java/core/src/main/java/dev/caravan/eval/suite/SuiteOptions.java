package dev.caravan.eval.suite;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * What a user chooses of a protocol; what is left open is the benchmark's usual way.
 *
 * @param split which part; empty: the suite's own
 * @param shots exemplars before each question; empty: the suite's own
 * @param limit most questions of each group; empty: all
 * @param reasoning with or without, where a suite has both; empty: both
 * @param maxNewTokens longest answer; empty: the suite's own
 * @param tasks names of tasks, or globs of them, that alone are asked; empty: the split's
 * @param categories of tasks that alone are asked; empty: all
 */
public record SuiteOptions(
    Optional<String> split,
    OptionalInt shots,
    OptionalInt limit,
    Optional<Reasoning> reasoning,
    OptionalInt maxNewTokens,
    List<String> tasks,
    List<String> categories) {
  public SuiteOptions {
    tasks = List.copyOf(tasks);
    categories = List.copyOf(categories);
  }

  /** Of all tasks. */
  public SuiteOptions(
      Optional<String> split,
      OptionalInt shots,
      OptionalInt limit,
      Optional<Reasoning> reasoning,
      OptionalInt maxNewTokens) {
    this(split, shots, limit, reasoning, maxNewTokens, List.of(), List.of());
  }

  /** Whether a model is to think aloud before it answers. */
  public enum Reasoning {
    DIRECT,
    COT
  }

  /** The benchmark's usual way. */
  public static SuiteOptions usual() {
    return new SuiteOptions(
        Optional.empty(),
        OptionalInt.empty(),
        OptionalInt.empty(),
        Optional.empty(),
        OptionalInt.empty());
  }

  boolean direct() {
    return reasoning.orElse(Reasoning.DIRECT) == Reasoning.DIRECT;
  }

  boolean cot() {
    return reasoning.orElse(Reasoning.COT) == Reasoning.COT;
  }
}
