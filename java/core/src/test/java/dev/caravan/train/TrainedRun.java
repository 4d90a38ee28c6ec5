package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a whole run of 20 steps left.
 *
 * @param checkpoint its last one
 * @param metrics a line each
 */
record TrainedRun(Path checkpoint, List<JsonNode> metrics) {
  /**
   * Buffers that hold a row or two: a step has about five, so some ranks have none in the last
   * round.
   */
  private static final String SMALL = "train.micro_batch_tokens=96";

  /** Keeps AdamW's first updates as smooth as the gradient; see TrainerTest. */
  private static final String SMOOTH = "optimizer.eps=1e-3";

  private static final double RELATIVE = 1e-5;

  /**
   * Trains a golden model, or goes on.
   *
   * @param output the run folder
   * @param assignments further keys
   */
  static TrainedRun of(String golden, Path output, String... assignments) throws IOException {
    Golden model = Golden.named(golden);
    String[] all =
        Stream.concat(Stream.of(SMALL, SMOOTH), Stream.of(assignments)).toArray(String[]::new);
    Path checkpoint =
        model.train(model.read("golden.json").get("train").get("settings"), output, all);
    return new TrainedRun(checkpoint, Golden.lines(output.resolve("metrics.jsonl")));
  }

  byte[] weights() throws IOException {
    return Files.readAllBytes(checkpoint.resolve("model.safetensors"));
  }

  /** Whether another run learnt the same, step by step, but for rounding. */
  void assertSame(TrainedRun many) {
    assertEquals(metrics.size(), many.metrics().size());
    for (int i = 0; i < metrics.size(); i++) {
      JsonNode its = metrics.get(i);
      JsonNode line = many.metrics().get(i);
      for (String key : List.of("step", "target_tokens", "input_tokens", "eval_targets", "lr")) {
        assertEquals(its.get(key), line.get(key), key);
      }
      assertEquals(its.findValues("choices"), line.findValues("choices"), "choices, line " + i);
      for (String key :
          List.of("loss", "grad_norm", "eval_loss", "aux_loss", "z_loss", "drop_share")) {
        if (its.has(key)) {
          double expected = its.get(key).asDouble();
          assertEquals(
              expected, line.get(key).asDouble(), RELATIVE * expected, key + ", line " + i);
        }
      }
    }
    Weights.assertClose(checkpoint, many.checkpoint(), RELATIVE);
  }
}
