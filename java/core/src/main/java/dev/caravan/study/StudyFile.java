package dev.caravan.study;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.MixtureFile;
import dev.caravan.data.mix.MixtureSpec;
import dev.caravan.data.mix.TaskSpec;
import dev.caravan.data.quality.ParetoDraw;
import dev.caravan.data.quality.QualityClassifier;
import dev.caravan.data.source.DataFiles;
import dev.caravan.train.Cwd;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** Reads a study from YAML; unknown keys are refused. */
public final class StudyFile {
  static final ObjectMapper YAML =
      YAMLMapper.builder(
              YAMLFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
          .build();

  private static final List<String> SHARED =
      List.of("study", "run", "models", "seeds", "keep_models", "output");
  private static final List<String> TASKS =
      List.of("tasks", "counts", "reasoning_tasks", "reasoning", "held_out", "also");
  private static final List<String> MIXTURE =
      List.of("mixture", "counts", "reasoning_tasks", "reasoning", "held_out_rows");
  private static final int HELD_OUT_ROWS = 100;
  private static final List<String> QUALITY = List.of("filter");

  private StudyFile() {}

  /**
   * Reads a study.
   *
   * @param yaml its text
   * @param where what errors name
   * @param name names the default output folder, runs/NAME
   * @throws UserError for anything that is wrong with it, in one line
   */
  public static Study parse(String yaml, String where, String name) {
    JsonNode tree;
    try {
      tree = YAML.readTree(yaml);
    } catch (JsonProcessingException e) {
      String line = e.getLocation() == null ? "" : ":" + e.getLocation().getLineNr();
      String message = e.getOriginalMessage().lines().findFirst().orElse("syntax error");
      throw new UserError(where + line + ": not YAML: " + message);
    }
    if (!(tree instanceof ObjectNode top)) {
      throw new UserError(where + ": got no map, a study is 'key: value' lines");
    }
    try {
      return read(top, name);
    } catch (UserError e) {
      throw new UserError(where + ": " + e.getMessage(), e);
    }
  }

  private static Study read(ObjectNode top, String name) {
    String kind = top.path("study").asText();
    if (!kind.equals("tasks") && !kind.equals("quality")) {
      throw new UserError("study: got '" + kind + "', needs tasks or quality");
    }
    List<String> known = new ArrayList<>(SHARED);
    known.addAll(kind.equals("quality") ? QUALITY : top.has("mixture") ? MIXTURE : TASKS);
    refuseUnknown(top, "", known);
    List<Long> seeds =
        list(top, "seeds", JsonNode::isIntegralNumber, "whole numbers", JsonNode::asLong);
    return new Study(
        Cwd.resolve(top.path("output").asText("runs/" + name)),
        map(top, "run"),
        models(top),
        seeds.isEmpty() ? List.of(17L) : seeds,
        flag(top, "keep_models"),
        kind.equals("quality") ? quality(top) : top.has("mixture") ? mixture(top) : tasks(top));
  }

  /**
   * The tasks of a mixture file: those that it draws from, in its order, and those that it holds
   * out.
   */
  private static Study.Tasks mixture(ObjectNode top) {
    Path file = existing("mixture", top.get("mixture").asText());
    MixtureSpec spec = MixtureFile.read(file, Cwd::resolvePattern);
    List<String> names =
        list(top, "reasoning_tasks", JsonNode::isTextual, "names of tasks", JsonNode::asText);
    Map<String, List<Path>> tasks = new LinkedHashMap<>();
    Map<String, List<Path>> reasoning = new LinkedHashMap<>();
    Map<String, List<Path>> heldOut = new LinkedHashMap<>();
    spec.trained()
        .forEach(
            task ->
                (names.contains(task.name()) ? reasoning : tasks)
                    .put(task.name(), DataFiles.resolve(task.paths())));
    for (String name : names) {
      if (!reasoning.containsKey(name)) {
        throw new UserError(
            "reasoning_tasks: "
                + Nearest.unknown("task of the mixture", name, spec.tasks().keySet()));
      }
    }
    for (TaskSpec task : spec.tasks().values()) {
      if (task.heldOut() && !task.paths().isEmpty()) {
        heldOut.put(task.name(), DataFiles.resolve(task.paths()));
      }
    }
    if (heldOut.isEmpty()) {
      throw new UserError("mixture: " + file + " holds no task out, by which models are scored");
    }
    List<Integer> given =
        list(top, "held_out_rows", JsonNode::canConvertToInt, "a whole number", JsonNode::asInt);
    int rows = given.isEmpty() ? HELD_OUT_ROWS : given.get(0);
    if (rows < 1) {
      throw new UserError("held_out_rows: got " + rows + ", needs at least 1");
    }
    return axes(top, Optional.of(file), tasks, reasoning, heldOut, Map.of(), rows);
  }

  private static Map<String, Study.Size> models(ObjectNode top) {
    Map<String, Study.Size> models = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : map(top, "models").properties()) {
      String key = "models." + entry.getKey();
      if (!entry.getKey().matches("[A-Za-z0-9._-]+")) {
        throw new UserError(key + ": a model's name is letters, digits, '.', '_' and '-'");
      }
      if (!(entry.getValue() instanceof ObjectNode given)) {
        throw new UserError(key + ": needs a map of run-file keys");
      }
      ObjectNode keys = given.deepCopy();
      JsonNode pretrain = keys.remove("pretrain");
      if (pretrain != null && !(pretrain instanceof ObjectNode)) {
        throw new UserError(key + ".pretrain: needs a map of run-file keys");
      }
      models.put(entry.getKey(), new Study.Size(keys, Optional.ofNullable((ObjectNode) pretrain)));
    }
    if (models.isEmpty()) {
      throw new UserError("models: missing, needs a map from a name to run-file keys");
    }
    return models;
  }

  private static Study.Tasks tasks(ObjectNode top) {
    Map<String, Path> tasks = files(top, "tasks");
    Map<String, Path> reasoning = files(top, "reasoning_tasks");
    Map<String, Path> heldOut = files(top, "held_out");
    if (tasks.isEmpty() || heldOut.isEmpty()) {
      throw new UserError(
          (tasks.isEmpty() ? "tasks" : "held_out") + ": missing, needs a map to files");
    }
    for (String name : heldOut.keySet()) {
      if (tasks.containsValue(heldOut.get(name)) || reasoning.containsValue(heldOut.get(name))) {
        throw new UserError("held_out." + name + ": trained on too, in tasks or reasoning_tasks");
      }
    }
    return axes(
        top, Optional.empty(), each(tasks), each(reasoning), each(heldOut), files(top, "also"), 0);
  }

  private static Map<String, List<Path>> each(Map<String, Path> files) {
    Map<String, List<Path>> lists = new LinkedHashMap<>();
    files.forEach((name, file) -> lists.put(name, List.of(file)));
    return lists;
  }

  private static Study.Tasks axes(
      ObjectNode top,
      Optional<Path> mixture,
      Map<String, List<Path>> tasks,
      Map<String, List<Path>> reasoning,
      Map<String, List<Path>> heldOut,
      Map<String, Path> also,
      int heldOutRows) {
    List<Integer> counts =
        list(top, "counts", JsonNode::isIntegralNumber, "whole numbers", JsonNode::asInt);
    for (int count : counts) {
      if (count < 0 || count > tasks.size()) {
        throw new UserError("counts: got " + count + ", there are " + tasks.size() + " tasks");
      }
    }
    List<Boolean> with =
        list(top, "reasoning", JsonNode::isBoolean, "true or false", JsonNode::asBoolean);
    if (with.contains(true) && reasoning.isEmpty()) {
      throw new UserError("reasoning_tasks: missing, but reasoning has true");
    }
    return new Study.Tasks(
        mixture,
        tasks,
        counts.isEmpty() ? List.of(tasks.size()) : counts,
        reasoning,
        with.isEmpty() ? List.of(false) : with,
        heldOut,
        also,
        heldOutRows);
  }

  private static Study.Quality quality(ObjectNode top) {
    ObjectNode filter = map(top, "filter");
    List<String> known =
        List.of("curated", "raw", "bits", "epochs", "rate", "decay", "alpha", "seed");
    refuseUnknown(filter, "filter.", known);
    long seed = filter.path("seed").asLong(1);
    QualityClassifier.Settings usual = QualityClassifier.Settings.usual(seed);
    QualityClassifier.Settings settings =
        new QualityClassifier.Settings(
            (int) number(filter, "bits", usual.bits()),
            (int) number(filter, "epochs", usual.epochs()),
            number(filter, "rate", usual.rate()),
            number(filter, "decay", usual.decay()),
            seed);
    double alpha = new ParetoDraw(number(filter, "alpha", ParetoDraw.GPT3), seed).alpha();
    return new Study.Quality(paths(filter, "curated"), paths(filter, "raw"), settings, alpha, seed);
  }

  private static double number(ObjectNode map, String key, double otherwise) {
    if (!map.hasNonNull(key)) {
      return otherwise;
    }
    try {
      return Double.parseDouble(map.get(key).asText());
    } catch (NumberFormatException e) {
      throw new UserError(
          "filter." + key + ": got '" + map.get(key).asText() + "', needs a number");
    }
  }

  private static List<Path> paths(ObjectNode map, String key) {
    List<String> given =
        map.path(key).isTextual()
            ? List.of(map.get(key).asText())
            : list(map, key, JsonNode::isTextual, "file names", JsonNode::asText);
    if (given.isEmpty()) {
      throw new UserError("filter." + key + ": missing, needs a file or a list of them");
    }
    return given.stream().map(file -> existing("filter." + key, file)).toList();
  }

  private static Map<String, Path> files(ObjectNode top, String key) {
    Map<String, Path> files = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : map(top, key).properties()) {
      files.put(entry.getKey(), existing(key + "." + entry.getKey(), entry.getValue().asText()));
    }
    return files;
  }

  private static Path existing(String key, String file) {
    Path path = Cwd.resolve(file);
    if (!Files.isRegularFile(path)) {
      throw new UserError(key + ": " + path + ": no such file");
    }
    return path;
  }

  private static ObjectNode map(ObjectNode top, String key) {
    JsonNode value = top.get(key);
    if (value == null || value.isNull()) {
      return JsonNodeFactory.instance.objectNode();
    }
    if (value instanceof ObjectNode map) {
      return map;
    }
    throw new UserError(key + ": got " + value + ", needs a map");
  }

  private static boolean flag(ObjectNode top, String key) {
    JsonNode value = top.path(key);
    if (!value.isMissingNode() && !value.isBoolean()) {
      throw new UserError(key + ": got " + value + ", needs true or false");
    }
    return value.asBoolean();
  }

  private static <T> List<T> list(
      ObjectNode top,
      String key,
      Function<JsonNode, Boolean> good,
      String needs,
      Function<JsonNode, T> of) {
    JsonNode value = top.path(key);
    List<T> list = new ArrayList<>();
    if (value.isMissingNode() || value.isNull()) {
      return list;
    }
    for (JsonNode element :
        value.isArray() ? value : JsonNodeFactory.instance.arrayNode().add(value)) {
      if (!good.apply(element)) {
        throw new UserError(key + ": got " + element + ", needs " + needs);
      }
      list.add(of.apply(element));
    }
    return list.stream().distinct().collect(Collectors.toList());
  }

  private static void refuseUnknown(ObjectNode map, String prefix, List<String> known) {
    for (Map.Entry<String, JsonNode> entry : map.properties()) {
      if (!known.contains(entry.getKey())) {
        throw new UserError(
            prefix + entry.getKey() + ": " + Nearest.unknown("key", entry.getKey(), known));
      }
    }
  }
}
