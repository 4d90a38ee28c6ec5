package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RunConfigWriterTest {
  private static final String RECIPE =
      """
      model:
        config: {model_type: llama, vocab_size: 64, hidden_size: 32, num_hidden_layers: 1,
                 num_attention_heads: 2, intermediate_size: 48, rms_norm_eps: 1e-5,
                 rope_scaling: {rope_type: linear, factor: 2}, note: "1_000"}
      data: {path: [a, 7], fields: {prompt: "yes", target: "1e5"}}
      train: {steps: 3}
      eval: {data: held, exact_match: {facts: asked, words: other}}
      """;

  private static RunConfig parse(String... assignments) {
    return RunFile.parse(RECIPE, "r", "r", List.of(assignments));
  }

  @Test
  void whatIsWrittenReadsBackTheSame() {
    RunConfig config = parse("optimizer.lr=3e-4", "checkpoint.resume=/x/step-1");
    String yaml = RunConfigWriter.toYaml(config);
    RunConfig back = RunFile.parse(yaml, "config.yaml", "other", List.of());
    assertEquals(Optional.empty(), RunConfigWriter.difference(back, config));
    assertEquals(yaml, RunConfigWriter.toYaml(back));
    assertEquals(config.data(), back.data());
    assertEquals(config.checkpoint(), back.checkpoint());
    assertEquals(config.output(), back.output());
    assertEquals(config.eval(), back.eval());
    assertEquals(List.of("facts", "words"), List.copyOf(back.eval().exactMatch().keySet()));
    assertTrue(yaml.startsWith("model:\n"), yaml);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "train.steps=9",
        "train.epochs=2",
        "data.cache=none",
        "data.cache=some/folder",
        "parallel={data: 2, expert: 2, expert_exchange: exact}",
        "checkpoint.keep=9",
        "checkpoint.resume=never",
        "eval.data=other",
        "eval.every_steps=9",
        "eval={}",
        "output=elsewhere",
        "train.seed=17",
      })
  void aContinuationMayDifferInTheseKeys(String assignment) {
    assertEquals(Optional.empty(), RunConfigWriter.difference(parse(assignment), parse()));
    assertEquals(RunConfigWriter.hash(parse()), RunConfigWriter.hash(parse(assignment)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "optimizer.lr=1e-4|optimizer.lr: 1.0E-4, was 2.0E-5",
        "train.micro_batch_tokens=2048|train.micro_batch_tokens: 2048, was not set",
        "train.examples_per_step=4|train.examples_per_step: 4, was not set",
        "precision=bf16|precision: bf16, was auto",
        "experts.second_expert=random|experts.second_expert: random, was all",
        "model.config.hidden_size=64|model.config.hidden_size: 64, was 32",
        "checkpoint.every_steps=3|checkpoint.every_steps: 3, was 500",
        "sequence.packing=false|sequence.packing: false, was true",
      })
  void anyOtherDifferenceIsNamed(String assignment, String expected) {
    assertEquals(Optional.of(expected), RunConfigWriter.difference(parse(assignment), parse()));
    assertNotEquals(RunConfigWriter.hash(parse()), RunConfigWriter.hash(parse(assignment)));
  }

  /** A run may go on by another exchange, but the ranks of one run must agree. */
  @Test
  void ranksThatExchangeDifferentlyAreTold() {
    RunConfig exact = parse("parallel={data: 2, expert: 2, expert_exchange: exact}");
    RunConfig gather = parse("parallel={data: 2, expert: 2}");
    assertEquals(
        "parallel.expert_exchange: exact, was gather",
        RunConfigWriter.anyDifference(exact, gather).orElseThrow());
  }
}
