package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.data.source.Format;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RunFileTest {
  private static final String MINIMAL =
      """
      model: {path: /models/m}
      data: {path: /data/a.jsonl}
      """;

  private static RunConfig parse(String yaml, String... assignments) {
    return RunFile.parse(yaml, "r.yaml", "r", List.of(assignments));
  }

  private static String error(String yaml, String... assignments) {
    String message =
        assertThrows(UserError.class, () -> parse(yaml, assignments).requireData()).getMessage();
    assertEquals(1, message.lines().count(), message);
    return message;
  }

  @Test
  void everyKeyHasItsDocumentedDefault() {
    RunConfig c = parse(MINIMAL);
    assertEquals(new RunConfig.ModelFolder(Path.of("/models/m")), c.model());
    assertTrue(c.tokenizer().isEmpty());
    assertEquals(List.of("/data/a.jsonl"), c.data().paths());
    assertEquals(Format.AUTO, c.data().format());
    assertEquals(Map.of(), c.data().fields());
    assertEquals(new RunConfig.Sequence(1024, 256, true), c.sequence());
    assertEquals(
        new RunConfig.Train(
            OptionalInt.empty(),
            OptionalInt.of(1),
            OptionalInt.of(16_384),
            OptionalInt.empty(),
            OptionalInt.empty(),
            17,
            true),
        c.train());
    assertEquals(
        new RunConfig.Optimizer(
            RunConfig.OptimizerName.ADAMW,
            2e-5,
            0.9,
            0.95,
            1e-8,
            0.1,
            1,
            RunConfig.Schedule.CONSTANT,
            0,
            0.1,
            RunConfig.Storage.FP32,
            RunConfig.Storage.FP32,
            new RunConfig.Adafactor(0, 0.8, 1, false, true)),
        c.optimizer());
    assertEquals(RunConfig.Precision.AUTO, c.precision());
    assertEquals(RunConfig.Recompute.AUTO, c.recompute());
    assertEquals(
        new RunConfig.Parallel(1, RunConfig.Shard.NONE, 1, 1, RunConfig.ExpertExchange.GATHER),
        c.parallel());
    assertEquals(500, c.checkpoint().everySteps());
    assertEquals(2, c.checkpoint().keep());
    assertEquals(RunConfig.Resume.AUTO, c.checkpoint().resume());
    assertTrue(c.eval().data().isEmpty());
    assertEquals(100, c.eval().everySteps());
    assertEquals(Cwd.folder().resolve("runs/r"), c.output());
    assertTrue(c.deterministic());
  }

  @Test
  void everyKeyIsRead() {
    RunConfig c =
        parse(
            """
            model:
              config: {model_type: qwen2, vocab_size: 64, hidden_size: 32, num_hidden_layers: 1,
                       num_attention_heads: 2, intermediate_size: 48, rms_norm_eps: 1e-5}
              seed: 3
            tokenizer: tok.json
            data:
              path: [a.jsonl, 'b/*.tsv']
              format: prompt
              fields: {prompt: question, target: answer}
              template: alpaca
            sequence: {length: 64, target_length: 32, packing: false}
            train: {steps: 1e2, examples_per_step: 8, micro_batch_tokens: 128, seed: 1,
                    shuffle: false}
            optimizer:
              name: adafactor
              lr: 1e-3
              betas: [0.8, 0.999]
              eps: 1e-6
              weight_decay: 0
              clip_norm: 0
              schedule: inverse_sqrt
              warmup_steps: 5
              final_lr_ratio: 0
              moments: bf16
              grads: fp32
              adafactor: {beta1: 0.5, decay_rate: 0.7, clip_threshold: 2, scale_parameter: true,
                          factored: false}
            experts: {aux_loss: none, z_weight: 0, capacity_factor: none, group_size: 0,
                      second_expert: threshold, second_threshold: 0.2}
            precision: bf16
            recompute: full
            parallel: {data: 1, shard: none, tensor: 1, expert: 1, expert_exchange: gather}
            checkpoint: {every_steps: 7, keep: 1, resume: old/checkpoints/step-7}
            eval: {data: held.jsonl, every_steps: 3}
            output: out
            deterministic: false
            """);
    RunConfig.ModelConfig model = (RunConfig.ModelConfig) c.model();
    assertEquals(1e-5, model.config().llama().eps());
    assertEquals(3, model.seed());
    assertEquals(Cwd.folder().resolve("tok.json"), c.tokenizer().orElseThrow());
    assertEquals(List.of(Cwd.folder() + "/a.jsonl", Cwd.folder() + "/b/*.tsv"), c.data().paths());
    assertEquals(Format.PROMPT, c.data().format());
    assertEquals(Map.of("prompt", "question", "target", "answer"), c.data().fields());
    assertEquals("alpaca", c.data().template().orElseThrow());
    assertEquals(new RunConfig.Sequence(64, 32, false), c.sequence());
    assertEquals(100, c.train().steps().orElseThrow());
    assertEquals(RunConfig.SecondExpert.THRESHOLD, c.experts().secondExpert());
    assertEquals(0.2, c.experts().secondThreshold());
    assertTrue(c.train().epochs().isEmpty());
    assertTrue(c.train().tokensPerStep().isEmpty());
    assertEquals(8, c.train().examplesPerStep().orElseThrow());
    assertEquals(128, c.train().microBatchTokens().orElseThrow());
    assertFalse(c.train().shuffle());
    assertEquals(1e-3, c.optimizer().lr());
    assertEquals(0.999, c.optimizer().beta2());
    assertEquals(RunConfig.Schedule.INVERSE_SQRT, c.optimizer().schedule());
    assertEquals(new RunConfig.Adafactor(0.5, 0.7, 2, true, false), c.optimizer().adafactor());
    assertEquals(RunConfig.Resume.FOLDER, c.checkpoint().resume());
    assertEquals(
        Cwd.folder().resolve("old/checkpoints/step-7"), c.checkpoint().from().orElseThrow());
    assertEquals(Cwd.folder().resolve("held.jsonl"), c.eval().data().orElseThrow());
    assertFalse(c.deterministic());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "train: {steps: -3}|train.steps: got -3, needs a whole number of at least 1",
        "train: {steps: 2.5}|train.steps: got 2.5, needs a whole number of at least 1",
        "train: {steps: many}|train.steps: got 'many', needs a whole number of at least 1",
        "train: {steps: [1]}|train.steps: got [1], needs a whole number of at least 1",
        "train: {steps: 99999999999}|train.steps: got 99999999999, needs a whole number",
        "train: {stpes: 3}|train.stpes: unknown key 'stpes', did you mean 'steps'?",
        "trian: {steps: 3}|trian: unknown key 'trian', did you mean 'train'?",
        "optimizer: {adafactor: {beta: 1}}|optimizer.adafactor.beta: unknown key 'beta', did",
        "train: 3|train: got 3, needs a map with steps, epochs",
        "train: {steps: 1, epochs: 1}|train.steps and train.epochs: both given, needs one of them",
        "train: {tokens_per_step: 1, examples_per_step: 1}|both given",
        "train: {micro_batch_tokens: 512}|train.micro_batch_tokens: got 512, needs at least"
            + " sequence.length 1024",
        "train: {shuffle: 1}|train.shuffle: got 1, needs true or false",
        "sequence: {length: 1}|sequence.length: got 1, needs a whole number of at least 2",
        "optimizer: {lr: -1}|optimizer.lr: got -1, needs a number of at least 0",
        "optimizer: {lr: .inf}|r.yaml:3: not YAML",
        "optimizer: {eps: 0}|optimizer.eps: got 0, needs a number above 0",
        "optimizer: {betas: [0.9, 1]}|optimizer.betas: got [0.9,1], needs a number from 0 to",
        "optimizer: {betas: 0.9}|optimizer.betas: got 0.9, needs a list of 2 numbers",
        "optimizer: {final_lr_ratio: 2}|optimizer.final_lr_ratio: got 2, needs a number from 0 to"
            + " 1",
        "optimizer: {name: sgd}|optimizer.name: got 'sgd', needs one of adamw, adafactor",
        "optimizer: {grads: bf16}|optimizer.grads: 'bf16' is not built yet",
        "precision: fp16|precision: got 'fp16', needs one of auto, fp32, bf16",
        "checkpoint: {keep: 0}|checkpoint.keep: got 0, needs a whole number of at least 1",
        "experts: {aux_loss: gram}|experts.aux_loss: got 'gram'",
        "experts: {capacity_factor: 0}|experts.capacity_factor: got 0",
        "experts: {second_expert: some}|experts.second_expert: got 'some', needs one of all, threshold,"
            + " random",
        "experts: {second_threshold: 0.2}|experts.second_threshold: got 0.2, needs second_expert of"
            + " threshold or random beside it",
        "experts: {second_expert: random, second_threshold: -1}|experts.second_threshold: got -1",
        "output: ''|output: got '', needs a text",
      })
  void badValuesAreRefusedWithTheirKey(String line, String expected) {
    String message = error(MINIMAL + line);
    assertTrue(message.startsWith(expected) || message.contains(expected), message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{}|model: missing, needs one of path, config and family with size",
        "{path: a, family: llama, size: 7b}|model.path and model.family: both given",
        "{family: llama}|one is given without the other",
        "{path: a, seed: 1}|model.seed: given with model.path",
        "{family: t5, size: 3b}|model.size: '3b' is unknown for t5; known: small, base, large, xl, xxl",
        "{family: llama, size: 9b}|model.size: '9b' is unknown for llama; known: 7b",
        "{config: {model_type: llama}}|model.config: hidden_size: missing",
        "{config: {model_type: llama, hidden_size: x}}|model.config: hidden_size: got \"x\"",
        "{config: /no/such.json}|/no/such.json: no such file",
      })
  void theModelIsExactlyOneOfThree(String model, String expected) {
    String message = error("model: " + model + "\ndata: {path: a}");
    assertTrue(message.contains(expected), message);
  }

  @Test
  void dataIsNeededOnlyWhereItIsRead() {
    assertTrue(error("model: {path: a}").startsWith("data.path: missing"));
    parse("model: {path: a}");
    assertTrue(error("model: {path: a}\ndata: {path: a, mixture: b}").contains("both given"));
    assertTrue(
        error("model: {path: a}\ndata: {mixture: b, template: qa}")
            .contains("given with data.mixture"));
    assertTrue(error("model: {path: a}\ndata: {path: []}").contains("at least one entry"));
    assertTrue(error("model: {path: a}\ndata: {path: a, fields: {a: 1}}").contains("data.fields"));
  }

  @Test
  void assignmentsAreYamlAndMakeTheMapsThatAreMissing() {
    RunConfig c =
        parse(
            MINIMAL,
            "optimizer.lr=1e-3",
            "train.steps=10",
            "data.path=[x, y]",
            "optimizer.adafactor.beta1=0.5",
            "output=/o=1",
            "sequence={length: 32}",
            "tokenizer=");
    assertEquals(1e-3, c.optimizer().lr());
    assertEquals(10, c.train().steps().orElseThrow());
    assertEquals(2, c.data().paths().size());
    assertEquals(0.5, c.optimizer().adafactor().beta1());
    assertEquals(Path.of("/o=1"), c.output());
    assertEquals(32, c.sequence().length());
    assertTrue(c.tokenizer().isEmpty());
  }

  @Test
  void theLastAssignmentOfAKeyHolds() {
    assertEquals(2, parse(MINIMAL, "train.seed=1", "train.seed=2").train().seed());
  }

  @Test
  void anAssignmentDisplacesTheRecipesAlternative() {
    String recipe = MINIMAL + "train: {steps: 5, tokens_per_step: 9}";
    RunConfig c = parse(recipe, "train.epochs=2", "train.examples_per_step=4");
    assertTrue(c.train().steps().isEmpty());
    assertEquals(2, c.train().epochs().orElseThrow());
    assertTrue(c.train().tokensPerStep().isEmpty());
    assertTrue(error(recipe, "train.steps=1", "train.epochs=1").contains("both given"));

    String random = "model: {family: llama, size: 7b, seed: 1}\ndata: {path: a}";
    assertEquals(new RunConfig.ModelFolder(Path.of("/m")), parse(random, "model.path=/m").model());
    assertEquals(
        new RunConfig.ModelSize("llama", "13b", 0),
        parse(MINIMAL, "model.family=llama", "model.size=13b").model());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "train.stpes=3|train.stpes: unknown key 'stpes', did you mean 'steps'?",
        "nothing|--set nothing: needs KEY=VALUE",
        "=3|--set =3: needs KEY=VALUE",
        "train.steps.x=3|--set train.steps.x: 'steps' holds 4, not a map",
        "train.steps=[1|--set train.steps=[1: the value is not YAML",
        "train.=3|train.: unknown key ''",
      })
  void badAssignmentsAreRefused(String assignment, String expected) {
    String message = error(MINIMAL + "train: {steps: 4}", assignment);
    assertTrue(message.contains(expected), message);
  }

  @Test
  void yamlThatCannotBeReadNamesFileAndLine() {
    assertTrue(error("a: [1\nb: 2").startsWith("r.yaml:2: not YAML: "));
    assertTrue(error("model: {path: a}\nmodel: {path: b}").contains("not YAML: Duplicate"));
    assertTrue(error("- a").contains("r.yaml: got no map"));
    assertTrue(error("").startsWith("model: missing"));
  }

  @Test
  void filesAreReadAndNameTheRunFolder(@TempDir Path dir) throws IOException {
    Path file = dir.resolve("my-run.yaml");
    Files.writeString(file, MINIMAL);
    assertEquals(Cwd.folder().resolve("runs/my-run"), RunFile.read(file, List.of()).output());
    Files.write(file, new byte[] {(byte) 0xff, (byte) 0xfe});
    assertThrows(UserError.class, () -> RunFile.read(file, List.of()));
  }

  @Test
  void relativePathsStartAtTheCallersFolder() {
    System.setProperty("caravan.cwd", "/somewhere");
    try {
      RunConfig c = parse("model: {path: ../m}\noutput: runs/x");
      assertEquals(new RunConfig.ModelFolder(Path.of("/m")), c.model());
      assertEquals(Path.of("/somewhere/runs/x"), c.output());
    } finally {
      System.clearProperty("caravan.cwd");
    }
  }
}
