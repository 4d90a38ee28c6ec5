package dev.caravan.study;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.eval.AnswerMetric;
import dev.caravan.eval.ExactMatch;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.TrainingRun;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** The cells of a study of tasks: size of the model, number of tasks, reasoning, seed. */
final class TaskCells {
  private static final String MEAN = "held_out_mean";

  private final StudyRun run;
  private final Study.Tasks axes;

  TaskCells(StudyRun run, Study.Tasks axes) {
    this.run = run;
    this.axes = axes;
  }

  private record Cell(String model, int count, boolean reasoning, long seed) {
    String name() {
      return "%s-%d-tasks%s-seed-%d".formatted(model, count, reasoning ? "-reasoning" : "", seed);
    }

    String words() {
      return "%s, %d tasks, %s reasoning, seed %d"
          .formatted(model, count, reasoning ? "with" : "without", seed);
    }
  }

  boolean run() {
    List<Cell> all = all();
    if (!run.bases()) {
      return false;
    }
    int number = 0;
    for (Cell cell : all) {
      Optional<ObjectNode> result = result(cell);
      if (result.isEmpty()) {
        return false;
      }
      run.context()
          .say()
          .accept(
              String.format(
                  Locale.ROOT,
                  "cell %d of %d: %s: %.1f %%",
                  ++number,
                  all.size(),
                  cell.words(),
                  result.get().get(MEAN).asDouble()));
      plot();
    }
    return true;
  }

  /** A model that is not trained has neither reasoning nor seed. */
  private List<Cell> all() {
    List<Cell> all = new ArrayList<>();
    for (String model : run.study().models().keySet()) {
      for (int count : axes.counts()) {
        for (boolean reasoning : axes.withReasoning()) {
          for (long seed : run.study().seeds()) {
            boolean trained = count > 0 || reasoning;
            boolean first = seed == run.study().seeds().get(0);
            if (trained || first) {
              all.add(new Cell(model, count, reasoning, seed));
            }
          }
        }
      }
    }
    return all;
  }

  private List<Map.Entry<String, List<Path>>> trainedOn(Cell cell) {
    List<Map.Entry<String, List<Path>>> tasks =
        new ArrayList<>(List.copyOf(axes.tasks().entrySet()).subList(0, cell.count));
    if (cell.reasoning) {
      tasks.addAll(axes.reasoning().entrySet());
    }
    return tasks;
  }

  private Optional<ObjectNode> result(Cell cell) {
    List<Map.Entry<String, List<Path>>> tasks = trainedOn(cell);
    Path folder = run.cells().folder(cell.name());
    ObjectNode keys = run.keys(cell.model).put("output", folder.resolve("run").toString());
    ObjectNode data = keys.withObjectProperty("data");
    ObjectNode eval = keys.withObjectProperty("eval");
    List<Path> files = new ArrayList<>();
    if (axes.mixture().isPresent()) {
      data.put("mixture", axes.mixture().get().toString());
      tasks.forEach(task -> data.withArray("tasks").add(task.getKey()));
      eval.put("held_out_rows", axes.heldOutRows()).put("exact_match_held_out", true);
      files.add(axes.mixture().get());
    } else {
      tasks.forEach(task -> data.withArray("path").add(task.getValue().get(0).toString()));
    }
    keys.withObjectProperty("train").put("seed", cell.seed);
    ObjectNode sets = eval.putObject("exact_match");
    if (axes.mixture().isEmpty()) {
      axes.heldOut().forEach((name, of) -> sets.put(name, of.get(0).toString()));
    }
    axes.also().forEach((name, file) -> sets.put(name, file.toString()));
    RunConfig config = Cells.config(keys, cell.name());
    tasks.forEach(task -> files.addAll(task.getValue()));
    axes.heldOut().values().forEach(files::addAll);
    files.addAll(axes.also().values());
    String key = run.cells().key(config, files);
    Optional<ObjectNode> before = run.cells().result(cell.name(), key);
    return before.isPresent() ? before : measure(cell, tasks, config, key);
  }

  private Optional<ObjectNode> measure(
      Cell cell, List<Map.Entry<String, List<Path>>> tasks, RunConfig config, String key) {
    long began = System.nanoTime();
    ModelSource model = ModelSource.of(config.model());
    ExactMatch questions = new ExactMatch(config, model.config());
    for (String name : axes.heldOut().keySet()) {
      if (!questions.sets().containsKey(name)) {
        throw new UserError(
            "held-out task '" + name + "': no row of it fits the context of " + cell.model);
      }
    }
    double loss = Double.NaN;
    if (!tasks.isEmpty()) {
      Optional<Path> trained = run.train(config, TrainingRun.Loss.TARGETS);
      if (trained.isEmpty()) {
        return Optional.empty();
      }
      model = ModelSource.folder(trained.get());
      loss = Cells.last(config.output().resolve("metrics.jsonl"), "loss");
    }
    Map<String, List<ExactMatch.Answer>> answers =
        questions.answer(model, run.context().choice(), run.context().stop());
    if (answers.isEmpty()) {
      return Optional.empty();
    }
    ObjectNode result = JsonNodeFactory.instance.objectNode();
    result.put("model", cell.model);
    result.put("parameters", StudyRun.parameters(config));
    result.put("tasks", cell.count);
    result.put("trained_on", String.join("; ", tasks.stream().map(Map.Entry::getKey).toList()));
    result.put("reasoning", cell.reasoning);
    result.put("seed", cell.seed);
    if (Double.isNaN(loss)) {
      result.putNull("last_loss");
    } else {
      result.put("last_loss", loss);
    }
    double sum = 0;
    for (Map.Entry<String, List<ExactMatch.Answer>> set : answers.entrySet()) {
      for (AnswerMetric metric : questions.metrics(set.getKey())) {
        result.put(metric.id() + " " + set.getKey(), metric.percent(set.getValue()));
      }
      boolean counts = axes.heldOut().containsKey(set.getKey());
      sum += counts ? AnswerMetric.EXACT_MATCH.percent(set.getValue()) : 0;
    }
    result.put(MEAN, sum / axes.heldOut().size());
    result.put("seconds", (System.nanoTime() - began) * 1e-9);
    run.cells().put(cell.name(), key, result);
    if (!tasks.isEmpty()) {
      run.forget(config.output());
    }
    return Optional.of(result);
  }

  /** A line for each model, dashed without reasoning; a point is the mean over seeds. */
  private void plot() {
    MeanLines means = new MeanLines();
    for (ObjectNode result : run.cells().results()) {
      String name =
          result.get("model").asText()
              + (result.get("reasoning").asBoolean() ? ", with reasoning" : ", without");
      means.add(name, result.get("tasks").asInt(), result.get(MEAN).asDouble());
    }
    List<String> models = List.copyOf(run.study().models().keySet());
    run.plot(
        "Held-out tasks by the number of tasks trained on",
        "tasks trained on",
        "exact match on held-out tasks, %",
        means.lines(
            name -> models.indexOf(name.substring(0, name.lastIndexOf(", with"))),
            name -> name.endsWith("without")));
  }
}
