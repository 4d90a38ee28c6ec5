package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Plans of models and clusters that no test machine holds. */
class PlanAtScaleTest {
  private static final double PARAMETERS = 65_285_660_672.0;

  @TempDir Path dir;

  private Captured plan(int gpus, String... sets) throws IOException {
    Path file = dir.resolve("scale.yaml");
    Files.writeString(
        file,
        """
        model: {family: llama, size: 65b, seed: 0}
        sequence: {length: 2048}
        train: {steps: 1, tokens_per_step: 4194304, micro_batch_tokens: 2048}
        recompute: full
        """);
    List<String> args = new ArrayList<>(List.of("plan", file.toString()));
    args.addAll(List.of("--machine", "a100-80", "--gpus", String.valueOf(gpus), "--json"));
    for (String set : sets) {
      args.addAll(List.of("--set", set));
    }
    return Captured.run(args.toArray(String[]::new));
  }

  private JsonNode planned(int gpus, String... sets) throws IOException {
    Captured run = plan(gpus, sets);
    assertEquals(0, run.code(), run.err());
    return new ObjectMapper().readTree(run.out());
  }

  @ParameterizedTest
  @ValueSource(ints = {64, 1024})
  void everyRankHoldsItsShareAndSendsWhatZeroSays(int gpus) throws IOException {
    JsonNode plan = planned(gpus, "parallel.shard=parameters");
    assertEquals(gpus, plan.get("ranks").asInt());
    assertEquals(PARAMETERS, plan.get("params_total").asDouble());
    JsonNode bytes = plan.get("bytes");
    // bfloat16 and 16 bits of remainder; gradients of float32; two moments of float32: in parts.
    close(4 * PARAMETERS / gpus, bytes.get("weights").asDouble(), 1e-3);
    close(4 * PARAMETERS / gpus, bytes.get("gradients").asDouble(), 1e-3);
    close(8 * PARAMETERS / gpus, bytes.get("optimizer").asDouble(), 1e-3);
    // Each micro-batch gathers the weights twice, in bfloat16, and sums gradients in float32 (the
    // last block and what follows are gathered once).
    double rounds = 2048.0 / gpus;
    double most = rounds * (2 * 2 + 4) * PARAMETERS * (gpus - 1) / gpus;
    double wire = plan.get("wire_bytes_per_step").asDouble();
    assertTrue(wire <= most && wire > 0.97 * most, wire + " of " + most);
    assertTrue(bytes.get("total").asDouble() < 80e9, bytes.toString());
    // Eight ports of 25 GB/s carry what one device of a node sends.
    close(wire / 200e9, plan.get("wire_seconds").asDouble(), 1e-9);
    assertEquals(
        plan.get("tokens_per_second_per_device").asDouble() / 380,
        plan.get("published").get("plan_times").asDouble(),
        1e-9);
  }

  /**
   * Touvron et al. 2023 (arXiv 2302.13971), section 2.3: 65B sees 1.4T tokens in batches of 4M, and
   * at 380 tokens/s on each of 2,048 GPUs takes about 21 days.
   */
  @Test
  void theRunOfThePaperTakesItsTokensAndDays() throws IOException {
    JsonNode plan = planned(2048, "parallel.shard=parameters", "train.steps=333786");
    JsonNode run = plan.get("run");
    double tokens = run.get("tokens").asDouble();
    close(1.4e12, tokens, 1e-5);
    close(6 * PARAMETERS * 1.4e12, run.get("flops_by_parameters").asDouble(), 1e-5);
    assertEquals(
        plan.get("flops_per_token").asDouble() * tokens, run.get("flops").asDouble(), 1e12);
    double rate = plan.get("published").get("tokens_per_second_per_device").asDouble();
    assertEquals(21, tokens / rate / 2048 / 86_400, 0.5);
  }

  @Test
  void eightGpusCannotHoldItsStateAndTheNeedIsSaid() throws IOException {
    Captured run = plan(8, "parallel.shard=parameters");
    assertEquals(2, run.code());
    assertTrue(run.err().contains("the plan needs "), run.err());
    assertTrue(run.err().contains("parallel.data=16 would need "), run.err());
  }

  private JsonNode shape(String model, int gpus, String... sets) throws IOException {
    List<String> all = new ArrayList<>(List.of("model=" + model, "parallel.shard=parameters"));
    all.addAll(List.of(sets));
    return planned(gpus, all.toArray(String[]::new));
  }

  /** GLaM's largest: 1.2 trillion parameters, 96.6 billion active. Source: arXiv 2112.06905, table 4. */
  @Test
  void glamsParametersAreCountedWhetherOrNotItFits() throws IOException {
    String glam = "model={family: glam, size: 64b-64e}";
    Captured run = plan(8, glam, "sequence.length=1024", "train.micro_batch_tokens=1024");
    assertEquals(2, run.code());
    assertTrue(
        run.err()
            .strip()
            .matches(
                "(?s).*; it has 1[.]16[0-9]e[+]12 parameters, 9[.]66[0-9]e[+]10 of them active, and"
                    + " takes [56][.][0-9]+e[+]11 FLOPs a token"),
        run.err());

    JsonNode small =
        planned(
            8,
            "model={family: glam, size: 1.7b-64e}",
            "sequence.length=1024",
            "train.micro_batch_tokens=1024",
            "train.steps=2",
            "parallel.shard=parameters");
    close(26.8e9, small.get("params_total").asDouble(), 5e-3);
    close(1.88e9, small.get("params_active").asDouble(), 5e-3);
    // Attention's pairs of tokens come on top of six for each active parameter.
    double pairs = 12.0 * 24 * 2048 * 1025 / 2;
    close(6 * 1.88e9 + pairs, small.get("flops_per_token").asDouble(), 5e-3);
    // A run's FLOPs by parameters count those that take part.
    close(
        6 * small.get("params_active").asDouble() * 2 * 4_194_304,
        small.get("run").get("flops_by_parameters").asDouble(),
        1e-9);
  }

  /** One of the 64 experts of each layer on a rank; 16 ranks have the same. */
  @ParameterizedTest
  @CsvSource({
    "gather, 1024", // rows that a rank sends each other in each exchange: all tokens,
    "padded, 40", // or what an expert takes of them, 1.25 x 1,024 x 2 / 64,
    "exact, 32" // or what even choices would send
  })
  void glamFitsWhereRanksShareItsExperts(String exchange, int sent) throws IOException {
    JsonNode plan =
        planned(
            1024,
            "model={family: glam, size: 64b-64e}",
            "sequence.length=1024",
            "train={steps: 1, tokens_per_step: 1048576, micro_batch_tokens: 1024}",
            "experts.capacity_factor=1.25",
            "parallel={shard: parameters, expert: 64, expert_exchange: " + exchange + "}");
    double parameters = plan.get("params_total").asDouble();
    JsonNode bytes = plan.get("bytes");
    close(4 * parameters / 1024, bytes.get("weights").asDouble(), 1e-3);
    close(4 * parameters / 1024, bytes.get("gradients").asDouble(), 1e-3);
    close(8 * parameters / 1024, bytes.get("optimizer").asDouble(), 1e-3);
    assertTrue(bytes.get("total").asDouble() < 80e9, bytes.toString());
    // In 32 sparse layers rows travel five times: to the experts forward, computed again and back, and
    // twice home, as sums of all or as they are; an expert's two matrices are gathered twice and summed
    // once over 16 ranks.
    double rows = 32 * 5 * 63 * (double) sent * 8192 * 2;
    double experts = 32 * 2.0 * 8192 * 32_768 * (2 * 2 + 4) * 15 / 16;
    double rest = (parameters - 64 * 32 * 2.0 * 8192 * 32_768) * (2 * 2 + 4);
    close(rows + experts + rest, plan.get("wire_bytes_per_step").asDouble(), 0.02);
  }

  /** Some of the width of every expert, dense layer and head on each of eight ranks. */
  @Test
  void glamFitsWhereRanksShareEachExpertsWidth() throws IOException {
    JsonNode plan =
        planned(
            1024,
            "model={family: glam, size: 64b-64e}",
            "sequence.length=1024",
            "train={steps: 1, tokens_per_step: 1048576, micro_batch_tokens: 1024}",
            "parallel={shard: parameters, tensor: 8}");
    double parameters = plan.get("params_total").asDouble();
    JsonNode bytes = plan.get("bytes");
    close(4 * parameters / 1024, bytes.get("weights").asDouble(), 1e-3);
    close(4 * parameters / 1024, bytes.get("gradients").asDouble(), 1e-3);
    close(8 * parameters / 1024, bytes.get("optimizer").asDouble(), 1e-3);
    // In each of eight rounds four sums of a buffer's activations in a block, one of the embedding and one
    // of what the loss reads, in bfloat16; three numbers of a target row; in 32 sparse layers a number of
    // two choices of each token.
    double activations = (4.0 * 64 + 2) * 2 * 1024 * 8192 * 2;
    double statistics = 12.0 * 1024 * 8;
    double choices = 32 * 2.0 * 1024 * 2 * 4;
    close(
        8 * (activations + statistics + choices) * 7 / 8,
        plan.get("wire").get("tensor").get("bytes").asDouble(),
        1e-6);
  }

  /** An eighth of the width of one expert of each layer on a rank; two data ranks have the same. */
  @Test
  void glamFitsOnAGrid() throws IOException {
    JsonNode plan =
        planned(
            1024,
            "model={family: glam, size: 64b-64e}",
            "sequence.length=1024",
            "train={steps: 1, tokens_per_step: 1048576, micro_batch_tokens: 1024}",
            "parallel={shard: parameters, tensor: 8, expert: 64}");
    double parameters = plan.get("params_total").asDouble();
    JsonNode bytes = plan.get("bytes");
    close(4 * parameters / 1024, bytes.get("weights").asDouble(), 1e-3);
    close(4 * parameters / 1024, bytes.get("gradients").asDouble(), 1e-3);
    close(8 * parameters / 1024, bytes.get("optimizer").asDouble(), 1e-3);
    JsonNode wire = plan.get("wire");
    // As on eight tensor-parallel ranks alone: sums are of a rank's own tokens.
    double sums = (4.0 * 64 + 2) * 2 * 1024 * 8192 * 2 + 12.0 * 1024 * 8 + 32 * 2.0 * 1024 * 2 * 4;
    close(8.0 * sums * 7 / 8, wire.get("tensor").get("bytes").asDouble(), 1e-6);
    // As where 64 ranks share the experts alone, in each of eight rounds.
    double rows = 32 * 5 * 63 * 1024.0 * 8192 * 2;
    close(8 * rows, wire.get("expert").get("bytes").asDouble(), 1e-3);
    double expert = 32 * 2.0 * 8192 * 32_768 / 8;
    close(8 * expert * (2 * 2 + 4) / 2, wire.get("replica").get("bytes").asDouble(), 1e-3);
    double others = parameters / 8 - 64 * expert;
    close(8 * others * (2 * 2 + 4) * 127 / 128, wire.get("data").get("bytes").asDouble(), 0.02);
  }

  /** Published: 540.35 billion. Source: arXiv 2204.02311, table 1. */
  @Test
  void palmHasItsPublishedCountAndSaysWhetherItFits() throws IOException {
    JsonNode palm = shape("{family: palm, size: 540b}", 1024);
    close(540.35e9, palm.get("params_total").asDouble(), 1e-4);
    JsonNode bytes = palm.get("bytes");
    double parameters = palm.get("params_total").asDouble();
    close(4 * parameters / 1024, bytes.get("weights").asDouble(), 1e-3);
    close(4 * parameters / 1024, bytes.get("gradients").asDouble(), 1e-3);
    close(8 * parameters / 1024, bytes.get("optimizer").asDouble(), 1e-3);
    assertEquals("by the counts of its shape", palm.get("estimate").asText());
    JsonNode few = shape("{family: palm, size: 540b}", 8);
    assertTrue(few.get("estimate").asText().contains("does not fit: a rank needs "), few.toString());
  }

  /** Parameters of google/t5-v1_1-small and so on, as transformers counts them. */
  @ParameterizedTest
  @CsvSource({
    "small, 76961152",
    "base, 247577856",
    "large, 783150080",
    "xl, 2849757184",
    "xxl, 11135332352"
  })
  void t5HasItsPublishedCounts(String size, long parameters) throws IOException {
    JsonNode plan = shape("{family: t5, size: %s}".formatted(size), 8);
    assertEquals(parameters, plan.get("params_total").asLong());
  }

  /**
   * Steps and fine-tuning FLOPs of Chung et al. 2022 (arXiv 2210.11416), tables 2 and 22: batches of
   * 64, of 32 for PaLM, packed sequences of 2,048 and 512 tokens. Two digits are printed, of FLOPs and
   * of sizes.
   */
  @ParameterizedTest
  @CsvSource({
    "t5, large, 64, 64000, 2.4e19, 0.03",
    "t5, xl, 64, 38000, 5.6e19, 0.06",
    "t5, xxl, 64, 14000, 7.6e19, 0.03",
    "palm, 8b, 32, 40000, 1.6e20, 0.09",
    "palm, 62b, 32, 40000, 1.2e21, 0.03",
    "palm, 540b, 32, 21000, 5.6e21, 0.03"
  })
  void flansRunsTakeThePapersFlops(
      String family, String size, int batch, int steps, double flops, double apart)
      throws IOException {
    JsonNode run =
        shape(
                "{family: %s, size: %s}".formatted(family, size),
                64,
                "sequence={length: 2048, target_length: 512}",
                "train={steps: %d, tokens_per_step: %d}".formatted(steps, batch * 2560))
            .get("run");
    close(flops, run.get("flops_by_parameters").asDouble(), apart);
    assertEquals(2560.0 * batch * steps, run.get("tokens").asDouble());
    double counted = run.get("flops").asDouble() / run.get("flops_by_parameters").asDouble();
    assertTrue(counted > 0.9 && counted < 1.5, "with attention, of that: " + counted);
  }

  /** What the counts say of a dense model's exchanges is what its graph says. */
  @Test
  void countsAgreeWithTheGraph() throws IOException {
    // PaLM's 8B as a LLaMA.
    JsonNode graph =
        planned(
            64,
            "parallel.shard=parameters",
            "model={config: {model_type: llama, vocab_size: 256000, hidden_size: 4096,"
                + " intermediate_size: 16384, num_hidden_layers: 32, num_attention_heads: 16,"
                + " num_key_value_heads: 1, head_dim: 256, tie_word_embeddings: true,"
                + " max_position_embeddings: 2048, rms_norm_eps: 1.0e-6, hidden_act: silu}}");
    JsonNode counts = shape("{family: palm, size: 8b}", 64);
    for (String key : List.of("params_total", "flops_per_token")) {
      close(graph.get(key).asDouble(), counts.get(key).asDouble(), 1e-3);
    }
    // The graph gathers the tied embedding once more, for its two uses.
    for (String key : List.of("wire_bytes_per_step", "tokens_per_second_per_device")) {
      close(graph.get(key).asDouble(), counts.get(key).asDouble(), 0.1);
    }
    for (String key : List.of("weights", "gradients", "optimizer")) {
      close(
          graph.get("bytes").get(key).asDouble(), counts.get("bytes").get(key).asDouble(), 2e-3);
    }
    close(
        graph.get("bytes").get("total").asDouble(),
        counts.get("bytes").get("total").asDouble(),
        0.2);
  }

  /** Eight ranks share each matrix, those of the vocabulary too, and eight such groups the examples. */
  @Test
  void gpusAreDataRanksTimesTensorRanks() throws IOException {
    JsonNode plan = planned(64, "parallel={shard: parameters, tensor: 8}");
    assertEquals(64, plan.get("ranks").asInt());
    close(4 * PARAMETERS / 64, plan.get("bytes").get("weights").asDouble(), 1e-2);
    Captured odd = plan(60, "parallel.tensor=8");
    assertEquals(2, odd.code());
    assertTrue(
        odd.err().contains("--gpus: got 60, needs a multiple of parallel.tensor, 8"), odd.err());
  }

  /** NVLink within a node of eight; between nodes a port of the network for each GPU. */
  @ParameterizedTest
  @CsvSource({"8, 300e9, 25e9", "4, 300e9, 50e9", "16, 200e9, 25e9"})
  void eachGroupTakesTheRateOfItsLinks(int tensor, double tensorRate, double dataRate)
      throws IOException {
    JsonNode plan = planned(64, "parallel={shard: parameters, tensor: " + tensor + "}");
    JsonNode wire = plan.get("wire");
    assertEquals(tensor, wire.get("tensor").get("ranks").asInt());
    assertEquals(64 / tensor, wire.get("data").get("ranks").asInt());
    assertEquals(tensorRate, wire.get("tensor").get("bytes_per_second").asDouble());
    assertEquals(dataRate, wire.get("data").get("bytes_per_second").asDouble());
    long bytes = 0;
    double seconds = 0;
    for (JsonNode group : wire) {
      bytes += group.get("bytes").asLong();
      seconds += group.get("seconds").asDouble();
    }
    assertEquals(plan.get("wire_bytes_per_step").asLong(), bytes);
    close(plan.get("wire_seconds").asDouble(), seconds, 1e-12);
    // Four sums of a buffer's activations in a block, one of the embedding and one of what the loss
    // reads, in bfloat16; three numbers of a target row.
    double activations = (4.0 * 80 + 2) * 2 * 2048 * 8192 * 2;
    double statistics = 12.0 * 2048 * tensor;
    double rounds = 2048.0 * tensor / 64;
    close(
        rounds * (activations + statistics) * (tensor - 1) / tensor,
        wire.get("tensor").get("bytes").asDouble(),
        1e-9); // norms of gradients besides
    // The products wait for them; weights and gradients travel beside the products.
    double products =
        plan.get("flops_per_token").asDouble() / 64 * plan.get("tokens_per_step").asLong() / 312e12;
    double least =
        wire.get("tensor").get("seconds").asDouble()
            + Math.max(products, wire.get("data").get("seconds").asDouble());
    double step = plan.get("step_seconds").asDouble();
    assertTrue(step > least && step < 1.4 * least, step + " s, at least " + least);
  }

  /** Of a model that is little else, on four tensor-parallel ranks. */
  private JsonNode ofVocabulary(int size) throws IOException {
    return planned(
        4,
        "model={config: {model_type: llama, hidden_size: 256, num_attention_heads: 4,"
            + " intermediate_size: 64, num_hidden_layers: 1, vocab_size: " + size + "}}",
        "sequence.length=16",
        "train={steps: 1, tokens_per_step: 65536, micro_batch_tokens: 4096}",
        "parallel={data: 1, tensor: 4}");
  }

  @Test
  void aVocabularyThatStaysWholeIsNamed() throws IOException {
    JsonNode even = ofVocabulary(65_536);
    assertFalse(even.has("vocabulary"));
    JsonNode odd = ofVocabulary(65_535);
    assertEquals(
        "65535 tokens, whole on each rank: no multiple of parallel.tensor, 4",
        odd.get("vocabulary").asText());
    for (String key : List.of("weights", "gradients", "optimizer")) {
      assertTrue(
          odd.get("bytes").get(key).asLong() > 3 * even.get("bytes").get(key).asLong(), key);
    }
    // Four times the products of the output projection, which are nearly all.
    assertTrue(odd.get("step_seconds").asDouble() > 3 * even.get("step_seconds").asDouble());
  }

  @Test
  void aShapeIsNotDivided() throws IOException {
    Captured run = plan(64, "model={family: palm, size: 8b}", "parallel.tensor=2");
    assertEquals(2, run.code());
    assertTrue(
        run.err()
            .contains("parallel.tensor: got 2, needs 1 for a model that is planned by its counts (palm)"),
        run.err());
  }

  @Test
  void aShapeIsNotTrained() throws IOException {
    Path file = dir.resolve("train.yaml");
    Files.writeString(
        file,
        """
        model: {family: palm, size: 540b}
        data: {path: rows.jsonl, format: tokens}
        sequence: {length: 2048}
        train: {steps: 1, tokens_per_step: 4096}
        """);
    Captured run = Captured.run("sft", file.toString(), "--device", "cpu");
    assertEquals(2, run.code());
    assertTrue(
        run.err().contains("'palm' is not built yet, only plan knows its shape"), run.err());
  }

  private static void close(double expected, double actual, double relative) {
    assertEquals(expected, actual, relative * expected);
  }
}
