package dev.caravan.study;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.data.quality.ParetoDraw;
import dev.caravan.data.quality.QualityScores;
import dev.caravan.data.source.RecordReader;
import dev.caravan.train.RunConfig;
import dev.caravan.train.TrainingRun;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** The cells of a study of quality: size of the model, filtered or unfiltered text, seed. */
final class QualityCells {
  private static final String LOSS = "held_out_loss";
  private static final List<String> ARMS = List.of("unfiltered", "filtered");

  private final StudyRun run;
  private final Study.Quality axes;
  private final Map<String, Integer> texts = new LinkedHashMap<>();

  QualityCells(StudyRun run, Study.Quality axes) {
    this.run = run;
    this.axes = axes;
  }

  boolean run() {
    if (run.study().models().values().stream().anyMatch(size -> size.pretrain().isPresent())) {
      throw new UserError(
          "models: pretrain has no meaning in a study of quality, which pre-trains");
    }
    filter();
    List<String> names = new ArrayList<>();
    int total = run.study().models().size() * ARMS.size() * run.study().seeds().size();
    for (String model : run.study().models().keySet()) {
      for (String arm : ARMS) {
        for (long seed : run.study().seeds()) {
          String name = model + "-" + arm + "-seed-" + seed;
          names.add(name);
          Optional<ObjectNode> result = result(name, model, arm, seed);
          if (result.isEmpty()) {
            return false;
          }
          run.context()
              .say()
              .accept(
                  String.format(
                      Locale.ROOT,
                      "cell %d of %d: %s, %s, seed %d: held-out loss %.4f",
                      names.size(),
                      total,
                      model,
                      arm,
                      seed,
                      result.get().get(LOSS).asDouble()));
          plot();
        }
      }
    }
    return true;
  }

  private Path file(String arm) {
    return run.study().output().resolve("filter").resolve(arm + ".jsonl");
  }

  /** Deterministic and quick beside training, so it is done anew every time. */
  private void filter() {
    List<String> curated = read(axes.curated());
    List<String> raw = read(axes.raw());
    double[] scores = QualityScores.of(curated, raw, axes.settings());
    ParetoDraw draw = new ParetoDraw(axes.alpha(), axes.seed());
    List<String> kept = new ArrayList<>();
    double keptScore = 0;
    for (int i = 0; i < raw.size(); i++) {
      if (draw.keeps(scores[i], i)) {
        kept.add(raw.get(i));
        keptScore += scores[i];
      }
    }
    if (kept.isEmpty()) {
      throw new UserError("filter: keeps none of " + raw.size() + " raw texts; lower filter.alpha");
    }
    write("unfiltered", raw);
    write("filtered", kept);
    run.context()
        .say()
        .accept(
            String.format(
                Locale.ROOT,
                "filter: keeps %d of %d raw texts; mean score %.3f, of those kept %.3f",
                kept.size(),
                raw.size(),
                Arrays.stream(scores).average().orElseThrow(),
                keptScore / kept.size()));
  }

  private static List<String> read(List<Path> files) {
    List<String> texts = new ArrayList<>();
    for (Path file : files) {
      try (RecordReader records = RecordReader.open(file)) {
        for (ObjectNode record = records.next(); record != null; record = records.next()) {
          JsonNode text = record.get("text");
          if (text == null || !text.isTextual()) {
            throw records.error("no field 'text'");
          }
          texts.add(text.asText());
        }
      }
    }
    return texts;
  }

  private void write(String arm, List<String> lines) {
    texts.put(arm, lines.size());
    StringBuilder jsonl = new StringBuilder();
    for (String line : lines) {
      jsonl.append(JsonNodeFactory.instance.objectNode().put("text", line)).append('\n');
    }
    Cells.write(file(arm), jsonl.toString());
  }

  private Optional<ObjectNode> result(String name, String model, String arm, long seed) {
    Path folder = run.cells().folder(name).resolve("run");
    ObjectNode keys = run.keys(model).put("output", folder.toString());
    keys.withObjectProperty("data").put("path", file(arm).toString()).put("format", "text");
    keys.withObjectProperty("train").put("seed", seed);
    RunConfig config = Cells.config(keys, name);
    Path heldOut =
        config
            .eval()
            .data()
            .orElseThrow(
                () -> new UserError("run.eval.data: missing, needs held-out text to score on"));
    String key = run.cells().key(config, List.of(file(arm), heldOut));
    Optional<ObjectNode> before = run.cells().result(name, key);
    if (before.isPresent()) {
      return before;
    }
    long began = System.nanoTime();
    if (run.train(config, TrainingRun.Loss.EVERY_TOKEN).isEmpty()) {
      return Optional.empty();
    }
    Path metrics = config.output().resolve("metrics.jsonl");
    ObjectNode result = JsonNodeFactory.instance.objectNode();
    result.put("model", model);
    result.put("parameters", StudyRun.parameters(config));
    result.put("text", arm);
    result.put("texts", texts.get(arm));
    result.put("seed", seed);
    result.put("last_loss", Cells.last(metrics, "loss"));
    result.put(LOSS, Cells.last(metrics, "eval_loss"));
    result.put("seconds", (System.nanoTime() - began) * 1e-9);
    run.cells().put(name, key, result);
    run.forget(config.output());
    return Optional.of(result);
  }

  private void plot() {
    MeanLines means = new MeanLines();
    for (ObjectNode result : run.cells().results()) {
      means.add(
          result.get("text").asText(),
          result.get("parameters").asDouble(),
          result.get(LOSS).asDouble());
    }
    run.plot(
        "The same steps on filtered and unfiltered text",
        "parameters",
        "loss on held-out text, nats per token",
        means.lines(ARMS::indexOf, "unfiltered"::equals));
  }
}
