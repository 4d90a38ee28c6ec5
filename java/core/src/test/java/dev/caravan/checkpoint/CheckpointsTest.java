package dev.caravan.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CheckpointsTest {
  @TempDir Path dir;
  private final Native memory = new Native();
  private Path folder;
  private Checkpoints checkpoints;

  @BeforeEach
  void setUp() {
    folder = dir.resolve("checkpoints");
    checkpoints = new Checkpoints(folder);
  }

  @AfterEach
  void tearDown() {
    memory.close();
  }

  private CheckpointContents contents(int step) throws IOException {
    Random random = new Random(step);
    Path tokenizer = dir.resolve("tokenizer.json");
    Files.writeString(tokenizer, "tokens");
    return new CheckpointContents(
        "{}",
        List.of(memory.random("w", random, 7L, 3L), memory.random("n", random, 3L)),
        Map.of(
            "optimizer",
            List.of(memory.random("w.exp_avg", random, 7L, 3L), memory.random("s", random)),
            "master",
            List.of(memory.tensor("w", StoredType.U16, 7L, 3L))),
        state(step),
        CheckpointContents.companionsOf(Optional.of(dir), Optional.empty()));
  }

  private static TrainerState state(int step) {
    return new TrainerState(
        step,
        10L * step,
        step,
        17,
        64,
        Map.of("target_tokens", 1L << 40),
        "abc",
        3,
        "cpu",
        2,
        Map.of("library", "cuBLASLt 13.1.1", "f32n4x8/4@256", "0123"));
  }

  private List<String> names() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void whatIsSavedComesBack() throws IOException {
    CheckpointContents contents = contents(4);
    Path saved = checkpoints.save(contents, 2);
    assertEquals(folder.resolve("step-4"), saved);
    assertEquals("tokens", Files.readString(saved.resolve("tokenizer.json")));
    assertEquals("{}", Files.readString(saved.resolve("config.json")));
    SavedCheckpoint latest = checkpoints.latest().orElseThrow();
    assertEquals(contents.state(), latest.state());
    try (Safetensors weights = latest.weights();
        Safetensors optimizer = latest.trainer("optimizer");
        Safetensors master = latest.trainer("master")) {
      same(contents.weights(), weights);
      same(contents.trainer().get("optimizer"), optimizer);
      same(contents.trainer().get("master"), master);
    }
  }

  private void same(List<NamedTensor> expected, Safetensors file) {
    assertEquals(expected.size(), file.tensors().size());
    for (NamedTensor tensor : expected) {
      NamedTensor back =
          memory.tensor(tensor.name(), tensor.type(), tensor.shape().toArray(Long[]::new));
      file.read(back);
      assertEquals(Native.bytes(tensor), Native.bytes(back), tensor.name());
    }
  }

  @Test
  void companionsAreTheModelsFilesOrTheOtherTokenizers() throws IOException {
    Path model = Files.createDirectory(dir.resolve("model"));
    Path other = Files.createDirectory(dir.resolve("other"));
    for (String name : List.of("generation_config.json", "tokenizer.json", "notes.txt")) {
      Files.writeString(model.resolve(name), "");
    }
    Path bin = Files.writeString(other.resolve("tok512.bin"), "");
    assertEquals(Map.of(), companions(null, null));
    assertEquals(
        Map.of(
            "generation_config.json", model.resolve("generation_config.json"),
            "tokenizer.json", model.resolve("tokenizer.json")),
        companions(model, null));
    assertEquals(
        Map.of(
            "generation_config.json",
            model.resolve("generation_config.json"),
            "tokenizer.bin",
            bin),
        companions(model, bin));
    assertEquals(
        Map.of("tokenizer.json", model.resolve("tokenizer.json")), companions(null, model));
  }

  private static Map<String, Path> companions(Path model, Path tokenizer) {
    return CheckpointContents.companionsOf(
        Optional.ofNullable(model), Optional.ofNullable(tokenizer));
  }

  @Test
  void theNewestAreKeptAndTheOneJustSavedAlways() throws IOException {
    for (int step : new int[] {2, 10, 9}) {
      checkpoints.save(contents(step), 9);
    }
    assertEquals(List.of(2, 9, 10), checkpoints.steps());
    checkpoints.save(contents(11), 2);
    assertEquals(List.of("step-10", "step-11"), names());
    checkpoints.save(contents(3), 1);
    assertEquals(List.of("step-3"), names());
  }

  @Test
  void aStepIsReplacedByItsNewCheckpoint() throws IOException {
    checkpoints.save(contents(5), 1);
    CheckpointContents again = contents(5);
    checkpoints.save(again, 1);
    assertEquals(List.of("step-5"), names());
    try (Safetensors weights = checkpoints.latest().orElseThrow().weights()) {
      same(again.weights(), weights);
    }
  }

  @Test
  void aResumeFromAnEarlierStepDiscardsTheLaterOnes() throws IOException {
    for (int step : new int[] {1, 2, 3}) {
      checkpoints.save(contents(step), 9);
    }
    checkpoints.discardAfter(1);
    assertEquals(List.of("step-1"), names());
  }

  @Test
  void damagedCheckpointsAreNotTakenAndSayWhy() throws IOException {
    checkpoints.save(contents(1), 9);
    checkpoints.save(contents(2), 9);
    Path two = checkpoints.path(2);
    Path weights = two.resolve("model.safetensors");
    byte[] whole = Files.readAllBytes(weights);
    Files.write(weights, new byte[whole.length - 1]);
    assertEquals(List.of(1), checkpoints.steps());
    assertTrue(problem(two).endsWith("needs " + whole.length), problem(two));
    Files.delete(weights);
    assertTrue(problem(two).endsWith("model.safetensors is missing"));
    Files.writeString(two.resolve("trainer/state.json"), "{");
    assertTrue(problem(two).endsWith("trainer/state.json is damaged"));
    Files.delete(two.resolve("trainer/state.json"));
    assertTrue(problem(two).endsWith("trainer/state.json is missing"));
    assertEquals(1, checkpoints.latest().orElseThrow().state().step());
    assertTrue(problem(dir).contains("not a complete checkpoint"));
  }

  private static String problem(Path path) {
    return assertThrows(UserError.class, () -> SavedCheckpoint.open(path)).getMessage();
  }

  /**
   * Cuts a save off after each file that it opens, as kill -9 would, and starts again on what is
   * left.
   */
  @Test
  void aProcessThatDiesAtAnyFileLosesOnlyTheCheckpointItWrote() throws IOException {
    checkpoints.save(contents(1), 9);
    int files = 0;
    while (true) {
      int limit = files++;
      Path copy = dir.resolve("run-" + limit);
      copyTree(folder, copy);
      int[] opened = {0};
      Checkpoints dying =
          new Checkpoints(
              copy,
              path -> {
                if (opened[0]++ == limit) {
                  throw new Killed();
                }
                return DurableFiles.Opener.FILES.open(path);
              });
      boolean died = false;
      try {
        dying.save(contents(2), 1);
      } catch (Killed e) {
        died = true;
        assertTrue(Files.exists(copy.resolve("step-2.tmp")));
      }
      Checkpoints next = new Checkpoints(copy);
      next.recover();
      assertEquals(List.of(died ? 1 : 2), next.steps());
      assertFalse(Files.exists(copy.resolve("step-2.tmp")));
      if (!died) {
        break;
      }
    }
    assertEquals(7, files);
  }

  private static final class Killed extends Error {
    private static final long serialVersionUID = 1L;
  }

  private static void copyTree(Path from, Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (Path file : files.sorted(Comparator.naturalOrder()).toList()) {
        Files.copy(file, to.resolve(from.relativize(file).toString()));
      }
    }
  }

  @Test
  void aDeathBetweenTheTwoRenamesOfAReplacementLosesNothing() throws IOException {
    checkpoints.save(contents(5), 1);
    Files.move(checkpoints.path(5), folder.resolve("step-5.tmp"));
    Files.createDirectories(folder.resolve("step-5.old.tmp"));
    checkpoints.recover();
    assertEquals(List.of("step-5"), names());
    assertEquals(List.of(5), checkpoints.steps());
  }

  @Test
  void aFullDiskIsOneLineAndTheLastCheckpointStays() throws IOException {
    checkpoints.save(contents(1), 1);
    List<Path> opened = new ArrayList<>();
    Checkpoints full =
        new Checkpoints(
            folder,
            path -> {
              opened.add(path);
              return opened.size() < 4
                  ? DurableFiles.Opener.FILES.open(path)
                  : FileChannel.open(Path.of("/dev/full"), StandardOpenOption.WRITE);
            });
    UserError error = assertThrows(UserError.class, () -> full.save(contents(2), 1));
    assertEquals(
        folder.resolve("step-2")
            + ": cannot be written: No space left on device; last complete checkpoint: step-1",
        error.getMessage());
    assertEquals(List.of("step-1"), names());
    assertEquals(1, checkpoints.latest().orElseThrow().state().step());
  }

  @Test
  void aFolderWithoutCheckpointsHasNone() {
    assertTrue(checkpoints.latest().isEmpty());
    checkpoints.recover();
    checkpoints.discardAfter(0);
    assertFalse(Files.exists(folder));
  }
}
