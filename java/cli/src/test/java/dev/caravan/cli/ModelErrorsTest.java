package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Every way in which a model folder can be bad ends in one line, exit code 2, and no output. */
class ModelErrorsTest {
  @TempDir Path dir;
  private Path model;
  private Path weights;
  private Path config;

  @BeforeEach
  void train() {
    Captured run = Captured.run(TrainTest.arguments("sft", dir.resolve("run"), 1));
    assertEquals(0, run.code(), run.err());
    model = dir.resolve("run/checkpoints/step-1");
    weights = model.resolve("model.safetensors");
    config = model.resolve("config.json");
  }

  /** The line that generate, score, export and sft all end with. */
  private String error() throws IOException {
    Path rows =
        Files.writeString(
            dir.resolve("rows.jsonl"), "{\"input_ids\": [1, 2], \"labels\": [1, 2]}\n");
    Path out = dir.resolve("out");
    List<Captured> runs =
        List.of(
            Captured.run("generate", "--model", model.toString(), "--prompt-ids", "1", "--ids"),
            Captured.run(
                "score",
                "--model",
                model.toString(),
                "--data",
                rows.toString(),
                "--out",
                out.toString()),
            Captured.run(
                "export", "--model", model.toString(), "--format", "hf", "--out", "" + out),
            Captured.run(TrainTest.arguments("sft", out, 2, "model={path: " + model + "}")));
    String message = null;
    for (Captured run : runs) {
      assertEquals(2, run.code(), run.err());
      assertEquals("", run.out());
      assertFalse(run.err().contains("\tat "), run.err());
      assertFalse(Files.exists(out), run.err());
      String[] lines = run.err().strip().split("\n");
      String last = lines[lines.length - 1];
      assertTrue(message == null || message.equals(last), message + " but " + last);
      message = last;
    }
    return message;
  }

  private void edit(Path file, String from, String to) throws IOException {
    String text = Files.readString(file, StandardCharsets.ISO_8859_1);
    assertTrue(text.contains(from));
    Files.writeString(file, text.replace(from, to), StandardCharsets.ISO_8859_1);
  }

  @Test
  void aMissingFile() throws IOException {
    Files.delete(weights);
    assertEquals(
        "caravan: " + model + ": holds neither model.safetensors nor model.safetensors.index.json",
        error());
  }

  @Test
  void aTruncatedFile() throws IOException {
    byte[] bytes = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(bytes, bytes.length / 2));
    assertTrue(error().startsWith("caravan: " + weights + ": tensor "));
  }

  @Test
  void aTensorThatIsMissing() throws IOException {
    edit(weights, "\"model.norm.weight\"", "\"model.norm.weighs\"");
    assertEquals("caravan: " + model + ": 1 tensor is missing: model.norm.weight", error());
  }

  @Test
  void aTensorOfAnotherShape() throws IOException {
    edit(config, "\"intermediate_size\" : 176", "\"intermediate_size\" : 160");
    assertEquals(
        "caravan: "
            + model
            + ": tensor model.layers.0.mlp.gate_proj.weight: got shape [176, 64], config.json needs"
            + " [160, 64]",
        error());
  }

  @Test
  void weightsThatAreNotFinite() throws IOException {
    byte[] bytes = Files.readAllBytes(weights);
    ByteBuffer.wrap(bytes).putInt(bytes.length - 4, 0x0000c07f);
    Files.write(weights, bytes);
    String message = error();
    assertTrue(message.contains("is NaN, weights must be finite"), message);
    assertTrue(message.startsWith("caravan: " + weights + ": tensor model.norm.weight"), message);
  }

  @Test
  void anUnknownArchitecture() throws IOException {
    edit(config, "\"model_type\" : \"llama\"", "\"model_type\" : \"lama\"");
    assertEquals(
        "caravan: "
            + config
            + ": model_type: 'lama' is unknown; known: glam, llama, mistral, mixtral, olmoe, qwen2, qwen2_moe, qwen3, qwen3_moe",
        error());
  }
}
