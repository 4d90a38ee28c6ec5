package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Ranks that are processes, as launchers start them. */
class ProcessesTest {
  private static final int STEPS = 20;

  @TempDir Path dir;

  private int launches;

  /** Starts a process for each rank, whose words go to files; {@code own} are one rank's settings. */
  private List<Process> launch(Path output, String shard, List<List<String>> own)
      throws IOException {
    return start(output, "parallel={data: " + own.size() + ", shard: " + shard + "}", own);
  }

  private List<Process> start(Path output, String parallel, List<List<String>> own)
      throws IOException {
    Path place = dir.resolve("place-" + launches++);
    List<Process> processes = new ArrayList<>();
    for (int rank = 0; rank < own.size(); rank++) {
      List<String> sets = new ArrayList<>(own.get(rank));
      sets.add(parallel);
      ProcessBuilder builder =
          new ProcessBuilder(
              Child.command(
                  List.of(),
                  TrainTest.arguments("sft", output, STEPS, sets.toArray(String[]::new))));
      builder.environment().put("RANK", String.valueOf(rank));
      builder.environment().put("WORLD_SIZE", String.valueOf(own.size()));
      builder.environment().put("CARAVAN_RENDEZVOUS", "file:" + place);
      builder.redirectErrorStream(true).redirectOutput(log(rank).toFile());
      processes.add(builder.start());
    }
    return processes;
  }

  private List<Process> launch(Path output, String shard) throws IOException {
    return launch(output, shard, List.of(List.of(), List.of()));
  }

  private Path log(int rank) {
    return dir.resolve("rank-" + rank + "-" + launches + ".log");
  }

  private String words(int rank) {
    try {
      return Files.readString(log(rank));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private List<Integer> finish(List<Process> processes) throws InterruptedException {
    List<Integer> codes = new ArrayList<>();
    for (Process process : processes) {
      boolean ended = process.waitFor(4, TimeUnit.MINUTES);
      process.destroyForcibly();
      assertTrue(ended, () -> "a process hangs: " + words(0) + words(1));
      codes.add(process.exitValue());
    }
    return codes;
  }

  private static byte[] weights(Path run) throws IOException {
    return Files.readAllBytes(run.resolve("checkpoints/step-" + STEPS + "/model.safetensors"));
  }

  private static boolean hasCheckpoint(Path run) throws IOException {
    Path folder = run.resolve("checkpoints");
    if (!Files.isDirectory(folder)) {
      return false;
    }
    try (Stream<Path> names = Files.list(folder)) {
      return names.anyMatch(path -> path.getFileName().toString().matches("step-[0-9]+"));
    }
  }

  /** The bits of threads; after a kill at a random moment, too. */
  @Test
  void twoProcessesTrainAsTwoThreadsEvenWhenOneWasKilled() throws Exception {
    Path threads = dir.resolve("threads");
    String[] arguments =
        TrainTest.arguments("sft", threads, STEPS, "parallel={data: 2, shard: optimizer}");
    Captured run = Captured.run(arguments);
    assertEquals(0, run.code(), run.err());

    Path output = dir.resolve("processes");
    List<String> background = List.of("checkpoint.background=true");
    List<Process> processes = launch(output, "optimizer", List.of(background, background));
    while (processes.get(0).isAlive() && !hasCheckpoint(output)) {
      Thread.sleep(5);
    }
    Thread.sleep(new Random().nextInt(100));
    processes.get(1).destroyForcibly();
    List<Integer> codes = finish(processes);
    if (codes.get(0) != 0) { // the kill may come when all is done
      assertEquals(1, codes.get(0), words(0));
      String last = words(0).lines().reduce("", (a, b) -> b);
      assertTrue(last.matches("caravan: rank 0, in .+ in step .+: rank 1 on .+"), words(0));
      assertTrue(last.contains(" is lost, its process ended; it was last in "), last);
    }

    assertEquals(List.of(0, 0), finish(launch(output, "optimizer")), words(0) + words(1));
    assertArrayEquals(weights(threads), weights(output));
  }

  @ParameterizedTest
  @CsvSource({"3, gradients", "4, parameters"})
  void moreProcessesTrainAsThreadsToo(int ranks, String shard) throws Exception {
    Path threads = dir.resolve("threads");
    String parallel = "parallel={data: " + ranks + ", shard: " + shard + "}";
    Captured run = Captured.run(TrainTest.arguments("sft", threads, STEPS, parallel));
    assertEquals(0, run.code(), run.err());

    Path output = dir.resolve("processes");
    List<Process> processes = launch(output, shard, Collections.nCopies(ranks, List.of()));
    assertEquals(Collections.nCopies(ranks, 0), finish(processes), () -> words(0));
    assertArrayEquals(weights(threads), weights(output));
  }

  /** Their width too, among two threads of each process. */
  @ParameterizedTest
  @CsvSource({"1, gather", "1, padded", "1, exact", "2, padded"})
  void processesThatShareExpertsTrainAsThreads(int tensor, String exchange) throws Exception {
    String parallel =
        "parallel={data: 2, tensor: %d, expert: 2, shard: optimizer, expert_exchange: %s}"
            .formatted(tensor, exchange);
    String room = "experts.capacity_factor=1.25";
    Path threads = dir.resolve("threads");
    Captured run =
        Captured.run(
            TrainTest.arguments("sft", threads, STEPS, ExpertErrorsTest.MODEL, parallel, room));
    assertEquals(0, run.code(), run.err());

    Path output = dir.resolve("processes");
    List<String> experts = List.of(ExpertErrorsTest.MODEL, room);
    List<Process> processes = start(output, parallel, List.of(experts, experts));
    assertEquals(List.of(0, 0), finish(processes), () -> words(0) + words(1));
    assertArrayEquals(weights(threads), weights(output));
  }

  static List<List<String>> models() {
    return List.of(List.of(), List.of(ExpertErrorsTest.MODEL, "optimizer.name=adafactor"));
  }

  /** Of experts too, and with what Adafactor adds up. */
  @ParameterizedTest
  @MethodSource("models")
  void processesShareEachMatrixAsThreadsDo(List<String> model) throws Exception {
    String parallel = "parallel={data: 1, tensor: 2}";
    Path threads = dir.resolve("threads");
    List<String> settings = new ArrayList<>(model);
    settings.add(parallel);
    Captured run =
        Captured.run(
            TrainTest.arguments("sft", threads, STEPS, settings.toArray(String[]::new)));
    assertEquals(0, run.code(), run.err());

    Path output = dir.resolve("processes");
    List<Process> processes = start(output, parallel, List.of(model, model));
    assertEquals(List.of(0, 0), finish(processes), () -> words(0) + words(1));
    assertArrayEquals(weights(threads), weights(output));
  }

  /** As one process a node, with a thread for each of its GPUs: matrices are shared inside a process. */
  @ParameterizedTest
  @CsvSource({"2, 2, none", "2, 2, parameters", "4, 1, gradients"})
  void severalRanksInEachOfTwoProcessesTrainAsThreads(int data, int tensor, String shard)
      throws Exception {
    String parallel =
        "parallel={data: %d, tensor: %d, shard: %s}".formatted(data, tensor, shard);
    Path threads = dir.resolve("threads");
    Captured run = Captured.run(TrainTest.arguments("sft", threads, STEPS, parallel));
    assertEquals(0, run.code(), run.err());

    Path output = dir.resolve("processes");
    List<Process> processes = start(output, parallel, List.of(List.of(), List.of()));
    assertEquals(List.of(0, 0), finish(processes), () -> words(0) + words(1));
    assertArrayEquals(weights(threads), weights(output));
  }

  /** All ranks of it are lost; the others hear of one of them, and the run goes on from what is whole. */
  @Test
  void aProcessOfSeveralRanksMayBeLost() throws Exception {
    Path output = dir.resolve("processes");
    String parallel = "parallel={data: 2, tensor: 2, shard: optimizer}";
    List<Process> processes = start(output, parallel, List.of(List.of(), List.of()));
    while (processes.get(0).isAlive() && !hasCheckpoint(output)) {
      Thread.sleep(5);
    }
    processes.get(1).destroyForcibly();
    List<Integer> codes = finish(processes);
    if (codes.get(0) != 0) { // the kill may come when all is done
      String last = words(0).lines().reduce("", (a, b) -> b);
      assertTrue(last.matches("caravan: rank [01], in .+: rank [23] .*is lost, its .+"), words(0));
    }
    assertEquals(
        List.of(0, 0),
        finish(start(output, parallel, List.of(List.of(), List.of()))),
        () -> words(0) + words(1));
  }

  @Test
  void theFirstProcessMayBeLostToo() throws Exception {
    Path output = dir.resolve("processes");
    List<Process> processes = launch(output, "none");
    while (processes.get(0).isAlive() && !hasCheckpoint(output)) {
      Thread.sleep(5);
    }
    processes.get(0).destroyForcibly();
    List<Integer> codes = finish(processes);
    if (codes.get(1) != 0) {
      assertEquals(1, codes.get(1), words(1));
      String last = words(1).lines().reduce("", (a, b) -> b);
      assertTrue(last.contains("rank 0 is lost"), words(1));
    }
  }

  @Test
  void settingsThatDifferAreNamedBeforeAnythingIsWritten() throws Exception {
    Path output = dir.resolve("processes");
    List<Process> processes =
        launch(output, "none", List.of(List.of(), List.of("optimizer.lr=0.125")));
    List<Integer> codes = finish(processes);
    assertEquals(2, codes.get(1), words(1));
    assertTrue(
        words(1).contains("caravan: rank 1 differs from rank 0: optimizer.lr: 0.125, was "),
        words(1));
    assertNotEquals(0, codes.get(0));
    assertTrue(words(0).contains("rank 1 differs from rank 0: optimizer.lr"), words(0));
    assertTrue(Files.notExists(output), "nothing was written");
  }

  @Test
  void aWrongNumberOfProcessesIsRefused() throws Exception {
    Path output = dir.resolve("processes");
    Captured run =
        Child.run(
            dir,
            java.util.Map.of(
                "RANK", "0", "WORLD_SIZE", "3", "MASTER_ADDR", "127.0.0.1", "MASTER_PORT", "1"),
            List.of(),
            TrainTest.arguments("sft", output, STEPS, "parallel.data=2"));
    assertEquals(2, run.code());
    assertTrue(
        run.err().contains("parallel: got 2 ranks, but torchrun started 3 processes; needs as many, or a multiple"),
        run.err());
  }
}
