package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Runs as processes of their own that are interrupted, killed, or run out of disk. */
class InterruptionTest {
  private static final int STEPS = 40;

  @TempDir Path dir;

  private Process start(Path output, int steps, String... sets) throws IOException {
    return start(List.of(), output, steps, sets);
  }

  private Process start(List<String> shell, Path output, int steps, String... sets)
      throws IOException {
    List<String> command = new ArrayList<>(shell);
    command.addAll(
        List.of(
            // Whoever runs the tests in the background may have Ctrl-C ignored, and so its children.
            "env",
            "--default-signal=INT"));
    command.addAll(Child.command(List.of(), TrainTest.arguments("sft", output, steps, sets)));
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
        .start();
  }

  private Path log() {
    return dir.resolve("log.txt");
  }

  private static void finish(Process process, int code) throws InterruptedException {
    boolean ended = process.waitFor(3, TimeUnit.MINUTES);
    process.destroyForcibly();
    assertTrue(ended, "the process hangs");
    assertEquals(code, process.exitValue());
  }

  private static List<Integer> checkpoints(Path run) throws IOException {
    Path folder = run.resolve("checkpoints");
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> names = Files.list(folder)) {
      return names
          .map(path -> path.getFileName().toString())
          .filter(name -> name.matches("step-[0-9]+"))
          .map(name -> Integer.valueOf(name.substring(5)))
          .sorted()
          .toList();
    }
  }

  private static void awaitCheckpoint(Process process, Path run) throws Exception {
    while (process.isAlive() && checkpoints(run).isEmpty()) {
      Thread.sleep(5);
    }
  }

  private static byte[] weights(Path run, int step) throws IOException {
    return Files.readAllBytes(run.resolve("checkpoints/step-" + step + "/model.safetensors"));
  }

  @Test
  void killedAgainAndAgainTheRunEndsInTheSameBits() throws Exception {
    Path whole = dir.resolve("whole");
    assertEquals(0, Captured.run(TrainTest.arguments("sft", whole, STEPS)).code());

    Path killed = dir.resolve("killed");
    Random random = new Random(7);
    for (int i = 0; i < 4; i++) {
      List<Integer> before = checkpoints(killed);
      Process process = start(killed, STEPS, "checkpoint.background=" + (i % 2 == 0));
      awaitCheckpoint(process, killed);
      Thread.sleep(random.nextInt(400));
      process.destroyForcibly();
      assertTrue(process.waitFor(1, TimeUnit.MINUTES));
      List<Integer> after = checkpoints(killed);
      if (!before.isEmpty()) {
        assertTrue(after.get(after.size() - 1) >= before.get(before.size() - 1));
      }
    }
    finish(start(killed, STEPS), 0);
    assertArrayEquals(weights(whole, STEPS), weights(killed, STEPS), Files.readString(log()));
    try (Stream<Path> left = Files.list(killed.resolve("checkpoints"))) {
      assertFalse(left.anyMatch(path -> path.getFileName().toString().endsWith(".tmp")));
    }
    long steps =
        Files.readAllLines(killed.resolve("metrics.jsonl")).stream()
            .filter(line -> line.contains("\"loss\""))
            .count();
    assertEquals(STEPS, steps);
  }

  @Test
  void controlCSavesAndEndsWith130() throws Exception {
    Path run = dir.resolve("run");
    Process process = start(run, 1_000_000);
    awaitCheckpoint(process, run);
    new ProcessBuilder("kill", "-INT", String.valueOf(process.pid())).start().waitFor();
    finish(process, 130);
    List<Integer> saved = checkpoints(run);
    int last = saved.get(saved.size() - 1);
    List<String> metrics = Files.readAllLines(run.resolve("metrics.jsonl"), StandardCharsets.UTF_8);
    String lastStep = metrics.stream().filter(l -> l.contains("\"loss\"")).reduce("", (a, b) -> b);
    assertTrue(lastStep.startsWith("{\"step\":" + last + ","), lastStep + " but saved " + saved);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void aFullDiskIsOneLineAndTheLastCheckpointStays(boolean background) throws Exception {
    Path run = dir.resolve("run");
    assertEquals(0, Captured.run(TrainTest.arguments("sft", run, 4)).code());
    // A limit on the size of files (in KiB) stands in for a full disk: the weights do not fit.
    Process process =
        start(
            List.of("bash", "-c", "ulimit -f 200; exec \"$@\"", "limited"),
            run,
            STEPS,
            "checkpoint.background=" + background);
    finish(process, 2);
    String log = Files.readString(log());
    List<String> lines = log.lines().toList();
    String last = lines.get(lines.size() - 1);
    assertTrue(last.startsWith("caravan: " + run + File.separator), log);
    assertTrue(last.contains("step-6: cannot be written: "), log);
    assertTrue(last.endsWith("last complete checkpoint: step-4"), log);
    assertFalse(log.contains("\tat "), log);
    assertEquals(List.of(2, 4), checkpoints(run));
    finish(start(run, 6), 0);
    assertEquals(List.of(4, 6), checkpoints(run));
  }
}
