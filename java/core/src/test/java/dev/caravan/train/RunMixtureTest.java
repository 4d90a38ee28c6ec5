package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Device;
import dev.caravan.train.log.Progress;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunMixtureTest {
  @TempDir Path folder;

  @BeforeEach
  void files() throws IOException {
    write("up.jsonl", 40, 3);
    write("down.jsonl", 11, 58);
    Files.writeString(
        folder.resolve("mix.yaml"),
        """
        tasks:
          up: {path: %1$s/up.jsonl}
          down: {path: %1$s/down.jsonl}
        mixtures:
          both: {parts: [up, down], temperature: 2}
        """
            .formatted(folder));
  }

  private void write(String name, int rows, int step) throws IOException {
    Files.writeString(
        folder.resolve(name),
        IntStream.range(0, rows)
            .mapToObj(
                i -> {
                  String ids =
                      IntStream.range(0, 3 + i % 9)
                          .mapToObj(t -> String.valueOf((i + step * t) % 61))
                          .collect(Collectors.joining(", ", "[", "]"));
                  return "{\"input_ids\": %s, \"labels\": %s}".formatted(ids, ids);
                })
            .collect(Collectors.joining("\n")));
  }

  private RunConfig config(String name, String... more) {
    List<String> all =
        new ArrayList<>(
            List.of(
                "output=" + folder.resolve(name),
                "data={mixture: " + folder.resolve("mix.yaml") + "}",
                "checkpoint.resume=auto"));
    all.addAll(List.of(more));
    return new TinyRun(folder, Device.CPU).config(all.toArray(String[]::new));
  }

  /** Trains, or stops after some steps; returns the losses and what was shown. */
  private static List<Double> train(RunConfig config, int stopAfter, List<String> notes) {
    List<Double> losses = new ArrayList<>();
    Progress progress =
        new Progress() {
          @Override
          public void start(int done, int total) {}

          @Override
          public void step(StepMetrics metrics) {
            losses.add(metrics.loss());
          }

          @Override
          public void note(String line) {
            notes.add(line);
          }

          @Override
          public void close() {}
        };
    TrainingRun.run(
        config,
        TrainingRun.Loss.TARGETS,
        new DeviceChoice(Device.CPU, false, 2, 0, ""),
        progress,
        () -> losses.size() == stopAfter);
    return losses;
  }

  @Test
  void aRunThatGoesOnIsTheUninterruptedOne() throws IOException {
    List<String> notes = new ArrayList<>();
    List<Double> whole = train(config("whole"), -1, notes);
    assertEquals(TinyRun.STEPS, whole.size());
    assertTrue(notes.stream().anyMatch(n -> n.contains("mixture both: 2 tasks, 51 rows")), "" + notes);

    List<Double> parts = new ArrayList<>(train(config("parts"), 4, new ArrayList<>()));
    assertEquals(4, parts.size());
    parts.addAll(train(config("parts"), -1, new ArrayList<>()));
    assertEquals(whole, parts);
    String last = "checkpoints/step-" + TinyRun.STEPS + "/model.safetensors";
    assertArrayEquals(
        Files.readAllBytes(folder.resolve("whole").resolve(last)),
        Files.readAllBytes(folder.resolve("parts").resolve(last)));
  }

  @Test
  void theRunFolderTellsWhatIsDrawnAndRefusesOtherData() throws IOException {
    train(config("run"), 2, new ArrayList<>());
    JsonNode told = new ObjectMapper().readTree(folder.resolve("run/mixture.json").toFile());
    assertEquals("both", told.path("mixture").asText());
    double rate = Math.sqrt(40) / (Math.sqrt(40) + Math.sqrt(11));
    assertEquals(rate, told.path("tasks").get(0).path("rate").asDouble(), 1e-12);
    assertEquals(48, told.path("examples").asLong());

    write("down.jsonl", 12, 58);
    UserError other =
        assertThrows(UserError.class, () -> train(config("run"), -1, new ArrayList<>()));
    assertTrue(other.getMessage().contains("the files of data.mixture have changed"), other.getMessage());
    assertEquals(
        TinyRun.STEPS, train(config("run", "checkpoint.resume=never"), -1, new ArrayList<>()).size());
  }

  @Test
  void heldOutTasksAreEvaluatedEachByItself() throws IOException {
    write("other.jsonl", 9, 7);
    write("third.jsonl", 3, 11);
    Files.writeString(
        folder.resolve("mix.yaml"),
        """
        tasks:
          up: {path: %1$s/up.jsonl}
          down: {path: %1$s/down.jsonl}
          other: {path: %1$s/other.jsonl}
          third: {path: %1$s/third.jsonl, categories: [kept away]}
        held_out: [oth*]
        held_out_categories: [kept away]
        """
            .formatted(folder));
    train(config("run", "eval={held_out_rows: 5}"), -1, new ArrayList<>());
    Map<String, Double> losses = new HashMap<>();
    for (String line : Files.readAllLines(folder.resolve("run/metrics.jsonl"))) {
      JsonNode json = new ObjectMapper().readTree(line);
      if (json.has("task")) {
        losses.put(json.get("task").asText(), json.get("task_loss").asDouble());
      }
    }
    assertEquals(Set.of("other", "third", "mean over tasks"), losses.keySet());
    assertEquals(
        (losses.get("other") + losses.get("third")) / 2, losses.get("mean over tasks"), 1e-9);
    UserError none =
        assertThrows(
            UserError.class,
            () -> {
              Files.writeString(
                  folder.resolve("mix.yaml"), "tasks: {up: {path: %s/up.jsonl}}".formatted(folder));
              train(config("none", "eval={held_out_rows: 5}"), 1, new ArrayList<>());
            });
    assertTrue(none.getMessage().contains("holds no task out"), none.getMessage());
  }

  @Test
  void refusesKeysThatTasksHaveThemselves() {
    UserError error = assertThrows(UserError.class, () -> config("run", "data.template=qa"));
    assertTrue(error.getMessage().contains("given with data.mixture"), error.getMessage());
  }

  @Test
  void previewShowsTheMixture() {
    Preview preview = Preview.of(config("run"));
    assertEquals(2, preview.mixture().orElseThrow().lines().size());
    assertTrue(preview.packing().orElseThrow().targetTokens() > 0);
  }
}
