package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.eval.Generation;
import dev.caravan.eval.Sampler;
import dev.caravan.eval.Scoring;
import dev.caravan.train.log.Progress;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * A folder of src/test/resources/golden: a small model, rows, and what Hugging Face transformers
 * made of them; make.py beside the folders says what each file holds. What is done with it here
 * goes the way of the command line: run files in, files out.
 */
final class Golden {
  /** The longest row of all folders. */
  private static final int LENGTH = 96;

  /** Holds every step's rows: a balance loss is over one buffer. */
  private static final int ONE_BUFFER = 1024;

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final DeviceChoice CPU = DeviceChoice.of("cpu", 2);

  private final Path folder;

  private Golden(Path folder) {
    this.folder = folder;
  }

  /** Every folder. */
  static List<Golden> all() {
    try {
      Path root = Path.of(Golden.class.getResource("/golden").toURI());
      try (var entries = Files.list(root)) {
        return entries
            .filter(e -> Files.exists(e.resolve("golden.json")))
            .sorted()
            .map(Golden::new)
            .toList();
      }
    } catch (IOException | URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The folder of that name. */
  static Golden named(String name) {
    return all().stream().filter(g -> g.toString().equals(name)).findFirst().orElseThrow();
  }

  /** The model folder. */
  Path folder() {
    return folder;
  }

  /** golden.json, or another file beside it. */
  JsonNode read(String file) throws IOException {
    return JSON.readTree(folder.resolve(file).toFile());
  }

  /** Scores the rows under the model in a folder: one object a row. */
  List<JsonNode> score(Path model, Path out) throws IOException {
    RunConfig config = RunFile.forScore(model, folder.resolve("rows.jsonl"), List.of());
    Scoring.run(config, CPU, out);
    return lines(out);
  }

  /** Continues a prompt greedily. */
  List<Integer> generate(int[] prompt, int count) {
    List<Integer> ids = new ArrayList<>();
    ModelSource model = ModelSource.folder(folder);
    Generation.run(model, prompt, count, new Sampler(0, 1, 0), Set.of(), CPU, ids::add);
    return ids;
  }

  /**
   * Trains as a golden's settings say, in float32.
   *
   * @param settings of the golden
   * @param output the run folder
   * @param assignments further keys
   * @return the last checkpoint
   */
  Path train(JsonNode settings, Path output, String... assignments) {
    List<String> yaml = new ArrayList<>();
    yaml.add("model: {path: '" + folder + "'}");
    yaml.add("data: {path: '" + folder.resolve("rows.jsonl") + "', format: tokens}");
    yaml.add("sequence: {length: " + LENGTH + "}");
    yaml.add(
        "train: {steps: "
            + settings.get("steps")
            + ", shuffle: false, examples_per_step: "
            + settings.get("examples_per_step")
            + (sparse() ? ", micro_batch_tokens: " + ONE_BUFFER : "")
            + "}");
    yaml.add("precision: fp32");
    yaml.add("output: '" + output + "'");
    yaml.add("optimizer:");
    yaml.add("  name: " + settings.get("optimizer").asText());
    for (String key :
        List.of(
            "lr",
            "betas",
            "weight_decay",
            "clip_norm",
            "schedule",
            "warmup_steps",
            "final_lr_ratio",
            "adafactor")) {
      if (settings.has(key)) {
        yaml.add("  " + key + ": " + settings.get(key));
      }
    }
    String text = String.join("\n", yaml);
    RunConfig config = RunFile.parse(text, "golden", "golden", List.of(assignments));
    return TrainingRun.run(config, TrainingRun.Loss.TARGETS, CPU, Progress.SILENT, () -> false)
        .checkpoint();
  }

  /** Whether the model has sparse experts. */
  private boolean sparse() {
    try {
      return read("config.json").has("num_experts_per_tok");
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The objects of a jsonl file. */
  static List<JsonNode> lines(Path file) throws IOException {
    List<JsonNode> objects = new ArrayList<>();
    for (String line : Files.readAllLines(file)) {
      objects.add(JSON.readTree(line));
    }
    return objects;
  }

  @Override
  public String toString() {
    return folder.getFileName().toString();
  }
}
