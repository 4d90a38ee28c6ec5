package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * GPUs that cannot be used, are full, or fail: the real command on the emulated GPU, each time in a
 * process of its own, since a process looks for devices once.
 */
@Tag("simt")
class GpuFailureTest {
  private static final int STEPS = 6;
  private static final int SAVED_EVERY = 2;
  private static final int MEMORY = 256 << 20;

  private static final String RUN =
      """
      model:
        seed: 3
        config: {model_type: llama, vocab_size: 61, hidden_size: 16, intermediate_size: 24,
                 num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1,
                 max_position_embeddings: 64, rms_norm_eps: 1.0e-5, tie_word_embeddings: true,
                 hidden_act: silu}
      data: {path: rows.jsonl, format: tokens}
      sequence: {length: 24}
      train: {examples_per_step: 4, micro_batch_tokens: 32}
      optimizer: {lr: 0.01, schedule: constant}
      checkpoint: {every_steps: 2, keep: 3}
      """;

  @TempDir Path dir;

  @BeforeEach
  void writeRun() throws IOException {
    Random random = new Random(5);
    StringBuilder rows = new StringBuilder();
    for (int i = 0; i < 40; i++) {
      int start = random.nextInt(61);
      List<Integer> ids =
          IntStream.range(0, 4 + random.nextInt(20)).mapToObj(t -> (start + 3 * t) % 61).toList();
      rows.append("{\"input_ids\": %s, \"labels\": %s}\n".formatted(ids, ids));
    }
    Files.writeString(dir.resolve("rows.jsonl"), rows);
    Files.writeString(dir.resolve("run.yaml"), RUN);
  }

  private String[] sft(String output, int steps, String... more) {
    List<String> args = new ArrayList<>(List.of("sft", dir.resolve("run.yaml").toString()));
    args.addAll(List.of("--set", "output=" + dir.resolve(output)));
    args.addAll(List.of("--set", "data.path=" + dir.resolve("rows.jsonl")));
    args.addAll(List.of("--set", "train.steps=" + steps));
    args.addAll(List.of(more));
    return args.toArray(String[]::new);
  }

  /** Trains in a process whose emulated GPU has one more setting or several. */
  private Captured child(Map<String, String> gpu, String[] args, String... options) {
    return Child.run(dir, gpu, List.of(options), args);
  }

  /** A GPU of MEMORY bytes, some held by another process from an allocation of this one on. */
  private static Map<String, String> held(int bytes, int from) {
    return Map.of(
        "CARAVAN_SIMT_MEMORY_BYTES", String.valueOf(MEMORY),
        "CARAVAN_SIMT_HELD_BYTES", String.valueOf(bytes),
        "CARAVAN_SIMT_HELD_FROM", String.valueOf(from));
  }

  /** Asserts that a process ended as it should and said why in its last line; returns that line. */
  private static String failed(int code, Captured run) {
    assertEquals(code, run.code(), run.err());
    assertEquals("", run.out());
    assertFalse(run.err().contains("\tat "), run.err());
    List<String> lines = run.err().lines().toList();
    String last = lines.get(lines.size() - 1);
    assertEquals(1, lines.stream().filter(line -> line.startsWith("caravan: ")).count(), run.err());
    assertTrue(last.startsWith("caravan: "), run.err());
    return last;
  }

  private static Matcher match(String pattern, String line) {
    Matcher matcher = Pattern.compile(pattern).matcher(line);
    assertTrue(matcher.matches(), line + "\nis not " + pattern);
    return matcher;
  }

  /** With --device it is refused; without, the CPU trains, and the device line has the reason. */
  private void unusable(Map<String, String> gpu, String reason) {
    Captured asked = child(gpu, sft("a", 1, "--device", "cuda"));
    assertEquals("caravan: --device cuda: no CUDA because " + reason, failed(2, asked));
    assertFalse(Files.exists(dir.resolve("a")));
    Captured open = child(gpu, sft("b", 1, "--threads", "2"));
    assertEquals(0, open.code(), open.err());
    String first = open.err().lines().findFirst().orElse("");
    assertTrue(first.startsWith("device: cpu ("), first);
    assertTrue(first.endsWith(" GiB), 2 threads; no CUDA because " + reason), first);
    assertTrue(Files.exists(dir.resolve("b/checkpoints/step-1/model.safetensors")));
  }

  @Test
  void aDriverThatIsTooOldIsNoUsableGpu() {
    unusable(
        Map.of("CARAVAN_SIMT_DRIVER", "12040"),
        "the NVIDIA driver is for CUDA 12.4 at most, needs to be one for CUDA 13.0 or later");
  }

  @Test
  void aDeviceLibraryThatIsNotThereIsNamed() {
    unusable(
        Map.of("CARAVAN_CUDA_LIBRARY", "/no/such.so"),
        "CARAVAN_CUDA_LIBRARY: there is no file /no/such.so");
  }

  @Test
  void anUnknownWayToLaunchIsRefused() {
    Captured run = child(Map.of(), sft("a", 1), "-Dcaravan.launches=fast");
    assertEquals(
        "caravan: caravan.launches: got fast, needs replay, plain, ranges or wait",
        failed(2, run));
  }

  @Test
  void anArchitectureThatIsNotBuiltIsNoUsableGpu() {
    unusable(
        Map.of("CARAVAN_SIMT_CAPABILITY", "70"),
        "the NVIDIA GPU has compute capability 7.0, needs 8.0 or later");
  }

  @Test
  void ranksNeedAGpuEachAndNccl() throws IOException {
    Map<String, String> two = Map.of("CARAVAN_SIMT_DEVICES", "2");
    String[] ranks = {"--device", "cuda", "--set", "parallel.data=3"};
    assertEquals(
        "caravan: 3 ranks need 3 GPUs, this machine has 2; --device cpu has them as threads",
        failed(2, child(two, sft("a", 1, ranks))));
    assertEquals(
        "caravan: 3 ranks need 3 GPUs, cuda:0 is one; --device cpu has them as threads",
        failed(2, child(two, sft("a", 1, "--device", "cuda:0", ranks[2], ranks[3]))));
    Path alone = dir.resolve("libcaravan_simt.so"); // has no NCCL beside it
    Files.createSymbolicLink(alone, Path.of(System.getenv("CARAVAN_CUDA_LIBRARY")));
    Map<String, String> three =
        Map.of("CARAVAN_SIMT_DEVICES", "3", "CARAVAN_CUDA_LIBRARY", alone.toString());
    assertEquals(
        "caravan: NCCL cannot be used: the device library is " + alone + ", which has none beside it",
        failed(2, child(three, sft("a", 1, ranks))));
    Files.delete(alone);
    assertFalse(Files.exists(dir.resolve("a")));
  }

  /** Four steps on two GPUs, one rank each, and the rest on one: the curve of one GPU. */
  @Test
  void aRunGoesOnOnAnotherNumberOfGpus() throws IOException {
    Map<String, String> two = Map.of("CARAVAN_SIMT_DEVICES", "2");
    String[] more = {"--device", "cuda", "--set", "precision=fp32"};
    assertEquals(0, child(two, sft("one", STEPS, more)).code());
    String ranks = "parallel={data: 2, shard: parameters}";
    Captured first = child(two, sft("two", 4, more[0], more[1], more[2], more[3], "--set", ranks));
    assertEquals(0, first.code(), first.err());
    Captured rest = child(two, sft("two", STEPS, more));
    assertEquals(0, rest.code(), rest.err());
    List<Double> expected = losses("one");
    List<Double> got = losses("two");
    assertEquals(STEPS, got.size());
    for (int i = 0; i < STEPS; i++) {
      assertEquals(expected.get(i), got.get(i), 1e-4 * expected.get(i), "step " + (i + 1));
    }
  }

  private List<Double> losses(String output) throws IOException {
    Pattern loss = Pattern.compile("\"loss\":([0-9.eE+-]+)");
    return Files.readAllLines(dir.resolve(output + "/metrics.jsonl")).stream()
        .map(loss::matcher)
        .filter(Matcher::find)
        .map(found -> Double.valueOf(found.group(1)))
        .toList();
  }

  @Test
  void exchangesBetweenGpusHaveTheirValues() {
    Captured run =
        child(
            Map.of("CARAVAN_SIMT_DEVICES", "3"),
            new String[] {
              "bench", "collectives", "--device", "cuda", "--ranks", "3", "--megabytes", "1", "--json"
            });
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("NCCL"), run.out());
  }

  /** A launcher's process takes the GPU of its number on the node, or the one that it sees. */
  @Test
  void processesTakeAGpuEach() {
    String[] one = sft("a", 1, "--device", "cuda");
    Map<String, String> launcher =
        Map.of("RANK", "5", "WORLD_SIZE", "8", "LOCAL_RANK", "1", "MASTER_ADDR", "127.0.0.1");
    Map<String, String> gpus = new HashMap<>(launcher);
    gpus.put("CARAVAN_SIMT_DEVICES", "4");
    assertTrue(child(gpus, one).err().startsWith("device: cuda:1 ("));
    assertTrue(child(launcher, one).err().startsWith("device: cuda:0 ("));
    gpus.put("LOCAL_RANK", "4");
    assertEquals(
        "caravan: process 4 of this node: this machine has 4 usable GPU(s), from 0",
        failed(2, child(gpus, one)));
  }

  @Test
  void aPlanBeyondTheGpuIsRefusedWithWhatItNeedsAndWhatThereIs() {
    Captured run =
        child(Map.of("CARAVAN_SIMT_MEMORY_BYTES", "65536"), sft("a", 1, "--device", "cuda"));
    match(
        "caravan: the plan needs [1-9][0-9.]+ MiB of memory, the device has 60.00 KiB for it; .+;"
            + " cuda:0 has 64.00 KiB, all free",
        failed(2, run));
    assertFalse(Files.exists(dir.resolve("a")));
  }

  @Test
  void memoryThatAnotherProcessHoldsIsNotPlannedWith() {
    Captured run = child(held(MEMORY - 65536, 0), sft("a", 1));
    match(
        "caravan: the plan needs [1-9][0-9.]+ MiB of memory, the device has 60.00 KiB for it; .+;"
            + " cuda:0 has 256.00 MiB, of which 64.00 KiB are free and the rest is held by other"
            + " processes or the driver",
        failed(2, run));
    assertFalse(Files.exists(dir.resolve("a")));
  }

  /** Another process takes the memory between the plan and an allocation of this one. */
  @Test
  void memoryThatIsTakenAfterThePlanIsSaidToBe() {
    Map<Integer, String> whose = Map.of(3, "gradients", 9, "first moments");
    whose.forEach(
        (allocation, what) -> {
          Captured run = child(held(MEMORY, allocation), sft("a", 1));
          Matcher said =
              match(
                  "caravan: the run's plan of [1-9][0-9.]+ MiB fitted when it was made; start again"
                      + " to plan with what is free now: cuda:0: asked for (\\d+) bytes for "
                      + what
                      + ", of (\\d+) that the model's plan needs; 0 of "
                      + MEMORY
                      + " bytes are free: malloc: bytes: got \\1: cuda:0: out of memory",
                  failed(1, run));
          assertTrue(Long.parseLong(said.group(1)) < Long.parseLong(said.group(2)), said.group());
          assertFalse(Files.exists(dir.resolve("a")));
        });
  }

  private byte[] state(String output, String file) throws IOException {
    return Files.readAllBytes(dir.resolve(output + "/checkpoints/step-" + STEPS).resolve(file));
  }

  private long stepsLogged(String output) throws IOException {
    return Files.readAllLines(dir.resolve(output + "/metrics.jsonl")).stream()
        .filter(line -> line.contains("\"loss\""))
        .count();
  }

  /** The checkpoint that a message calls whole is the newest, and the last one due before the step. */
  private void assertWhole(Matcher message) {
    int step = Integer.parseInt(message.group("step"));
    int saved = (step - 1) / SAVED_EVERY * SAVED_EVERY;
    assertEquals(
        dir.resolve("lost/checkpoints/step-" + saved).toString(), message.group("checkpoint"));
    assertFalse(Files.exists(dir.resolve("lost/checkpoints/step-" + (saved + SAVED_EVERY))));
  }

  /** A GPU that fails while it replays a step, then one that fails while every launch is waited for. */
  @Test
  void aGpuThatFailsInAStepEndsTheRunWhichGoesOnWithTheSameBits() throws IOException {
    Captured whole = Captured.run(sft("whole", STEPS));
    assertEquals(0, whole.code(), whole.err());

    Captured lost = child(Map.of("CARAVAN_SIMT_LOST_AT", "500"), sft("lost", STEPS));
    Matcher first =
        match(
            "caravan: training stopped, (?<checkpoint>\\S+) is whole \\(to see at which op, go on"
                + " with CARAVAN_JAVA_OPTS=-Dcaravan.launches=wait\\): step (?<step>\\d+): .*cuda:0:"
                + " .+: the device failed, as CARAVAN_SIMT_LOST_AT asks",
            failed(1, lost));
    assertWhole(first);
    assertEquals(Integer.parseInt(first.group("step")) - 1, stepsLogged("lost"));

    Captured again =
        child(
            Map.of("CARAVAN_SIMT_LOST_AT", "5"), sft("lost", STEPS), "-Dcaravan.launches=wait");
    assertTrue(again.err().contains("resumed from " + first.group("checkpoint")), again.err());
    Matcher second =
        match(
            "caravan: training stopped, (?<checkpoint>\\S+) is whole: step (?<step>\\d+): micro:"
                + " layers\\.\\d+\\S*/(?<op>\\w+): .*cuda:0: .*\\k<op>.*: the device failed, as"
                + " CARAVAN_SIMT_LOST_AT asks",
            failed(1, again));
    assertEquals(first.group("checkpoint"), second.group("checkpoint"));
    assertWhole(second);

    Captured rest = Captured.run(sft("lost", STEPS));
    assertEquals(0, rest.code(), rest.err());
    assertTrue(rest.err().contains("resumed from " + first.group("checkpoint")), rest.err());
    for (String file :
        List.of(
            "model.safetensors",
            "trainer/m.safetensors",
            "trainer/v.safetensors",
            "trainer/remainder.safetensors")) {
      assertArrayEquals(state("whole", file), state("lost", file), file);
    }
    assertEquals(STEPS, stepsLogged("lost"));
  }

  @Test
  void aGpuThatFailsBeforeTheFirstCheckpointSaysSo() {
    Captured run = child(Map.of("CARAVAN_SIMT_LOST_AT", "1"), sft("early", STEPS));
    match(
        "caravan: training stopped before its first checkpoint \\(to see at which op, .+\\): step 1:"
            + " .+: the device failed, as CARAVAN_SIMT_LOST_AT asks",
        failed(1, run));
  }
}
