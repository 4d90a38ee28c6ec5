package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.checkpoint.CheckpointContents;
import dev.caravan.checkpoint.TrainerState;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunFolderTest {
  @TempDir Path dir;

  private RunConfig config(String... assignments) {
    List<String> all = new ArrayList<>(List.of("output=" + dir.resolve("run")));
    all.addAll(List.of(assignments));
    return RunFile.parse("model: {path: /m}\ntrain: {steps: 4}", "r", "r", all);
  }

  private static void save(RunFolder folder, int step) {
    TrainerState state = new TrainerState(step, step, step, 17, 64, Map.of(), "h", 1, "cpu", 1, Map.of());
    folder
        .checkpoints()
        .save(new CheckpointContents("{}", List.of(), Map.of(), state, Map.of()), 9);
  }

  @Test
  void aFreshRunWritesItsResolvedConfig() throws IOException {
    try (RunFolder folder = RunFolder.open(config())) {
      assertEquals(dir.resolve("run"), folder.path());
      assertTrue(folder.resumed().isEmpty());
      assertEquals(0, folder.resumedStep());
      String yaml = Files.readString(folder.path().resolve("config.yaml"));
      assertEquals("# loss on the targets\n" + RunConfigWriter.toYaml(config()), yaml);
    }
  }

  @Test
  void aRunGoesOnFromItsLastCompleteCheckpoint() throws IOException {
    try (RunFolder folder = RunFolder.open(config())) {
      save(folder, 1);
      save(folder, 3);
      Files.createDirectories(folder.checkpoints().path(4).resolveSibling("step-4.tmp"));
    }
    try (RunFolder folder = RunFolder.open(config("train.steps=9"))) {
      assertEquals(3, folder.resumedStep());
      assertFalse(Files.exists(folder.checkpoints().path(4).resolveSibling("step-4.tmp")));
      assertTrue(Files.readString(folder.path().resolve("config.yaml")).contains("steps: 9"));
    }
  }

  @Test
  void anotherConfigurationIsRefusedAndNothingIsTouched() throws IOException {
    RunFolder.open(config()).close();
    byte[] before = Files.readAllBytes(dir.resolve("run/config.yaml"));
    UserError error =
        assertThrows(UserError.class, () -> RunFolder.open(config("optimizer.lr=1e-4")).close());
    assertEquals(
        dir.resolve("run")
            + ": holds another run: optimizer.lr: 1.0E-4, was 2.0E-5; choose another output, or"
            + " replace it with checkpoint.resume=never",
        error.getMessage());
    assertEquals(new String(before), Files.readString(dir.resolve("run/config.yaml")));
  }

  @Test
  void aRunThatLearnsOtherTokensIsRefused() {
    RunFolder.open(config()).close();
    UserError error =
        assertThrows(
            UserError.class, () -> RunFolder.open(config(), TrainingRun.Loss.EVERY_TOKEN).close());
    assertTrue(
        error.getMessage().contains("holds another run: its loss is not on every token;"),
        error.getMessage());
  }

  @Test
  void aDamagedConfigIsNamed() throws IOException {
    RunFolder.open(config()).close();
    Path file = dir.resolve("run/config.yaml");
    Files.writeString(file, "trian: 3\n");
    UserError error = assertThrows(UserError.class, () -> RunFolder.open(config()).close());
    assertTrue(error.getMessage().startsWith(file + ": cannot be compared with this run: trian:"));
  }

  @Test
  void neverReplacesTheRunAndNothingElse() throws IOException {
    Path run = dir.resolve("run");
    try (RunFolder folder = RunFolder.open(config())) {
      save(folder, 1);
      Files.writeString(folder.metrics(), "{}");
      Files.writeString(run.resolve("events.out.tfevents.1"), "");
      Files.writeString(run.resolve("notes.txt"), "mine");
    }
    try (RunFolder folder = RunFolder.open(config("checkpoint.resume=never", "precision=bf16"))) {
      assertTrue(folder.resumed().isEmpty());
      assertFalse(Files.exists(folder.metrics()));
      assertFalse(Files.exists(run.resolve("events.out.tfevents.1")));
      assertEquals("mine", Files.readString(run.resolve("notes.txt")));
    }
  }

  @Test
  void aNamedCheckpointIsTakenAndLaterOnesGo() {
    try (RunFolder folder = RunFolder.open(config())) {
      save(folder, 1);
      save(folder, 2);
    }
    Path first = dir.resolve("run/checkpoints/step-1");
    try (RunFolder folder = RunFolder.open(config("checkpoint.resume=" + first))) {
      assertEquals(1, folder.resumedStep());
      assertEquals(List.of(1), folder.checkpoints().steps());
    }
    UserError error =
        assertThrows(
            UserError.class, () -> RunFolder.open(config("checkpoint.resume=" + dir)).close());
    assertTrue(error.getMessage().contains("not a complete checkpoint"));
  }

  @Test
  void twoProcessesCannotTrainInOneFolder() {
    try (RunFolder folder = RunFolder.open(config())) {
      UserError error = assertThrows(UserError.class, () -> RunFolder.open(config()).close());
      assertEquals(
          folder.path() + ": another process is training in this folder", error.getMessage());
    }
    RunFolder.open(config()).close();
  }
}
