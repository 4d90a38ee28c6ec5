package dev.caravan.data.mix;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.Glob;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Format;
import dev.caravan.data.source.LineReader;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.Templates;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;

/** Reads mixture files: the value of {@code data.mixture}. */
public final class MixtureFile {
  private static final YAMLMapper YAML =
      YAMLMapper.builder(
              YAMLFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
          .build();
  private static final double NO_CAP = Double.POSITIVE_INFINITY;

  private final String file;
  private final UnaryOperator<String> resolve;
  private final Map<String, TaskSpec> tasks = new LinkedHashMap<>();
  private final Map<String, MixSpec> mixes = new LinkedHashMap<>();

  private MixtureFile(String file, UnaryOperator<String> resolve) {
    this.file = file;
    this.resolve = resolve;
  }

  /**
   * Reads a mixture file.
   *
   * @param resolve makes paths in it absolute
   * @throws UserError for anything that is wrong with it, in one line
   */
  public static MixtureSpec read(Path file, UnaryOperator<String> resolve) {
    try {
      return parse(Files.readString(file), file.toString(), resolve);
    } catch (NoSuchFileException e) {
      throw new UserError(file + ": no such file; it should be a mixture file", e);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read; is it a mixture file?", e);
    }
  }

  /** As {@link #read}, of text; {@code file} names it in errors. */
  public static MixtureSpec parse(String yaml, String file, UnaryOperator<String> resolve) {
    JsonNode tree;
    try {
      tree = YAML.readTree(yaml);
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw UserError.at(file, line, wrong(e.getOriginalMessage().lines().findFirst().orElse("")));
    }
    return new MixtureFile(file, resolve).read(tree);
  }

  /** The parser refuses YAML's .nan and .inf, which are no number that anything here could be. */
  private static String wrong(String message) {
    String number = "Malformed numeric value ";
    return message.startsWith(number)
        ? "got " + message.substring(number.length()) + ", needs a finite number"
        : "not YAML: " + message;
  }

  private MixtureSpec read(JsonNode tree) {
    Keys top =
        Keys.of(
            tree,
            file,
            "tasks",
            "mixtures",
            "mixture",
            "held_out",
            "held_out_file",
            "held_out_categories",
            "bad_rows",
            "stop");
    top.each("tasks", this::task);
    if (tasks.isEmpty()) {
      throw new UserError(file + ": tasks: missing, needs a map from a task's name to the task");
    }
    holdOut(top.texts("held_out"));
    top.text("held_out_file").ifPresent(list -> holdOutListed(Path.of(resolve.apply(list))));
    holdOutCategories(top.texts("held_out_categories"), top.path("held_out_categories"));
    top.each("mixtures", this::mix);
    String root = root(top);
    MixtureChecks checks = checks();
    checks.cycles();
    checks.parts();
    checks.metrics();
    MixtureSpec spec =
        new MixtureSpec(
            file,
            tasks,
            mixes,
            root,
            top.oneOf("bad_rows", MixtureSpec.BadRows.STOP),
            top.oneOf("stop", MixtureSpec.Stop.EPOCHS));
    if (spec.trained().isEmpty()) {
      throw new UserError(file + ": mixture '" + root + "' has no task that is not held out");
    }
    return spec;
  }

  private Void task(String path, JsonNode node) {
    Keys keys =
        Keys.of(
            node,
            path,
            "path",
            "each_file",
            "validation",
            "test",
            "format",
            "fields",
            "rows",
            "templates",
            "choose",
            "chat",
            "shots",
            "options",
            "phrases",
            "held_out",
            "categories",
            "metrics",
            "licence",
            "source",
            "version");
    String name = path.substring((file + ".tasks.").length());
    Map<String, List<String>> splits = new HashMap<>();
    for (String split : List.of("validation", "test")) {
      if (keys.has(split)) {
        splits.put(split, paths(keys, split));
      }
    }
    if (!keys.has("path") && splits.isEmpty()) {
      throw new UserError(
          path + ".path: missing, needs a file, a folder, a glob or a list of them");
    }
    List<Template> templates = templates(keys);
    Wording wording = WordingKeys.read(keys, templates);
    TaskSpec task =
        new TaskSpec(
            name,
            paths(keys, "path"),
            keys.oneOf("format", Format.AUTO),
            fields(keys),
            keys.integer("rows", 1, 0),
            templates,
            keys.oneOf("choose", TaskSpec.Choice.ROUND_ROBIN),
            wording,
            keys.bool("held_out", false),
            splits,
            new TaskSpec.About(
                keys.texts("categories"),
                metrics(keys),
                keys.text("licence"),
                keys.text("source"),
                keys.text("version")));
    if (keys.bool("each_file", false)) {
      group(task);
    } else {
      add(task);
    }
    return null;
  }

  private static List<TaskMetric> metrics(Keys keys) {
    return keys.texts("metrics").stream()
        .map(id -> TaskMetric.of(id, keys.path("metrics")))
        .distinct()
        .toList();
  }

  private static Map<String, String> fields(Keys keys) {
    Map<String, String> fields = keys.textMap("fields");
    keys.oneOf("format", Format.AUTO)
        .refusal(fields)
        .ifPresent(
            what -> {
              throw new UserError(keys.path("fields") + ": " + what);
            });
    return fields;
  }

  private List<String> paths(Keys keys, String key) {
    return keys.texts(key).stream().map(resolve).toList();
  }

  private void add(TaskSpec task) {
    if (tasks.put(task.name(), task) != null) {
      throw new UserError(file + ": two tasks are called '" + task.name() + "'");
    }
  }

  /** A task of each file, and a mixture of them under the group's own name. */
  private void group(TaskSpec group) {
    List<Path> files = DataFiles.resolve(group.paths());
    List<String> names = names(files);
    List<String> parts = new ArrayList<>();
    for (int i = 0; i < files.size(); i++) {
      String name = group.name() + "/" + names.get(i);
      add(group.ofFile(name, files.get(i).toString()));
      parts.add(name);
    }
    mixes.put(group.name(), MixSpec.proportional(group.name(), parts, NO_CAP, 1));
  }

  /**
   * Files' names without their endings; where two are the same, all with the folders below the one
   * that they have in common.
   */
  private static List<String> names(List<Path> files) {
    List<Path> bare = files.stream().map(MixtureFile::withoutEnding).toList();
    List<String> names = bare.stream().map(file -> file.getFileName().toString()).toList();
    if (Set.copyOf(names).size() == names.size()) {
      return names;
    }
    Path common = bare.get(0).getParent();
    for (Path file : bare) {
      while (!file.startsWith(common)) {
        common = common.getParent();
      }
    }
    Path folder = common;
    return bare.stream().map(file -> folder.relativize(file).toString()).toList();
  }

  private static Path withoutEnding(Path file) {
    String name = file.getFileName().toString().replaceFirst("(\\.[A-Za-z]+)(\\.gz)?$", "");
    return file.toAbsolutePath().resolveSibling(name);
  }

  private List<Template> templates(Keys keys) {
    List<Template> all = new ArrayList<>();
    JsonNode node = keys.raw("templates");
    if (node == null || node.isNull()) {
      if (keys.has("chat")) {
        throw new UserError(keys.path("chat") + ": needs templates, whose words the chat has");
      }
      return all;
    }
    String path = keys.path("templates");
    if (!node.isArray()) {
      all.addAll(template(path, node));
    }
    for (int i = 0; node.isArray() && i < node.size(); i++) {
      all.addAll(template(path + "[" + i + "]", node.get(i)));
    }
    return keys.text("chat").map(chat -> inChat(keys.path("chat"), all, chat)).orElse(all);
  }

  private static List<Template> inChat(String path, List<Template> templates, String chat) {
    try {
      return templates.stream().map(words -> Templates.inChat(words, chat)).toList();
    } catch (UserError e) {
      throw new UserError(path + ": " + e.getMessage().replaceFirst("^data.template: ", ""), e);
    }
  }

  private List<Template> template(String path, JsonNode node) {
    if (node.isTextual()) {
      try {
        return Templates.group(node.asText());
      } catch (UserError e) {
        throw new UserError(path + ": " + e.getMessage().replaceFirst("^data.template: ", ""), e);
      }
    }
    Keys keys = Keys.of(node, path, "prompt", "prompt_without_input", "target", "exemplar");
    if (!keys.has("prompt") || !keys.has("target")) {
      throw new UserError(path + ": needs a template's name, or the keys prompt and target");
    }
    return List.of(
        Templates.pattern(
            path,
            keys.words("prompt", ""),
            optional(keys, "prompt_without_input"),
            keys.words("target", ""),
            optional(keys, "exemplar")));
  }

  private static Optional<String> optional(Keys keys, String key) {
    return keys.has(key) ? Optional.of(keys.words(key, "")) : Optional.empty();
  }

  private MixtureChecks checks() {
    return new MixtureChecks(file, tasks, mixes);
  }

  private void holdOut(List<String> globs) {
    for (String glob : globs) {
      PathMatcher matcher = Glob.of(glob, file + ".held_out");
      int held = 0;
      Set<String> group = mixes.containsKey(glob) ? mixes.get(glob).parts().keySet() : Set.of();
      for (TaskSpec task : List.copyOf(tasks.values())) {
        if (matcher.matches(Path.of(task.name())) || group.contains(task.name())) {
          tasks.put(task.name(), task.asHeldOut());
          held++;
        }
      }
      if (held == 0) {
        throw new UserError(file + ".held_out: " + Nearest.unknown("task", glob, tasks.keySet()));
      }
    }
  }

  /**
   * Holds out what a published split lists, a name a line: tasks of that name, alone or in a group.
   * Names of tasks that are not here are passed over, since few have all of them.
   */
  private void holdOutListed(Path list) {
    Set<String> listed = new HashSet<>();
    try (LineReader lines = new LineReader(list)) {
      while (lines.next()) {
        listed.add(lines.text().strip());
      }
    } catch (UserError e) {
      throw new UserError(file + ".held_out_file: " + e.getMessage(), e);
    }
    int held = 0;
    for (TaskSpec task : List.copyOf(tasks.values())) {
      String last = task.name().substring(task.name().lastIndexOf('/') + 1);
      if (listed.contains(task.name()) || listed.contains(last)) {
        tasks.put(task.name(), task.asHeldOut());
        held++;
      }
    }
    if (held == 0) {
      throw new UserError(file + ".held_out_file: " + list + " names no task that is here");
    }
  }

  private void holdOutCategories(List<String> categories, String where) {
    if (!categories.isEmpty()) {
      Categories.tasks(tasks.values(), categories, where)
          .forEach(name -> tasks.computeIfPresent(name, (same, task) -> task.asHeldOut()));
    }
  }

  private Void mix(String path, JsonNode node) {
    Keys keys =
        Keys.of(
            node, path, "parts", "strategy", "preset", "scale", "cap", "temperature", "partial");
    String name = path.substring((file + ".mixtures.").length());
    if (tasks.containsKey(name) || mixes.containsKey(name)) {
      throw new UserError(path + ": '" + name + "' is a task already");
    }
    mixes.put(name, keys.has("preset") ? preset(keys, name, path) : own(keys, name, path));
    return null;
  }

  private MixSpec own(Keys keys, String name, String path) {
    JsonNode parts = keys.raw("parts");
    boolean weighted = parts != null && parts.isObject();
    MixSpec.Strategy strategy =
        keys.oneOf(
            "strategy", weighted ? MixSpec.Strategy.EXPLICIT : MixSpec.Strategy.PROPORTIONAL);
    if (weighted != (strategy == MixSpec.Strategy.EXPLICIT)) {
      throw keys.wrong(
          "parts",
          weighted
              ? "a list of names, as the strategy gives their weights"
              : "a map from names to weights");
    }
    Map<String, Double> weights = new LinkedHashMap<>();
    if (weighted) {
      weights.putAll(keys.weights("parts"));
    } else {
      parts(keys).forEach(part -> weights.put(part, 1.0));
    }
    if (weights.isEmpty()) {
      throw new UserError(path + ".parts: missing, needs names of tasks or mixtures");
    }
    for (String key : List.of("cap", "scale", "temperature")) {
      if (keys.has(key) && strategy != MixSpec.Strategy.PROPORTIONAL) {
        throw new UserError(path + "." + key + ": only the strategy proportional has one");
      }
    }
    return new MixSpec(
        name,
        strategy,
        weights,
        Map.of(),
        keys.positive("scale", 1),
        keys.positive("cap", NO_CAP),
        keys.positive("temperature", 1));
  }

  /** Names of parts, each of which is drawn once. */
  private static List<String> parts(Keys keys) {
    List<String> parts = keys.texts("parts");
    for (String part : parts) {
      if (parts.indexOf(part) < parts.lastIndexOf(part)) {
        throw new UserError(
            keys.path("parts") + ": '" + part + "' twice; give it a rate, as in {" + part + ": 2}");
      }
    }
    return parts;
  }

  /** Published rates: {@code parts} says which task or mixture each of its names stands for. */
  private MixSpec preset(Keys keys, String name, String path) {
    Preset preset = Preset.of(keys.text("preset").orElseThrow(), path + ".preset");
    for (String key : List.of("strategy", "cap", "scale", "temperature")) {
      if (keys.has(key)) {
        throw new UserError(path + "." + key + ": the preset has its own");
      }
    }
    if (preset.rates().isEmpty()) {
      Map<String, Double> caps = new LinkedHashMap<>();
      parts(keys).forEach(part -> caps.put(part, preset.cap()));
      MixSpec plain = MixSpec.proportional(name, List.copyOf(caps.keySet()), NO_CAP, 1);
      return new MixSpec(name, plain.strategy(), plain.parts(), caps, 1, NO_CAP, 1);
    }
    Map<String, String> meant = keys.textMap("parts");
    for (String part : meant.keySet()) {
      if (!preset.rates().containsKey(part)) {
        throw new UserError(
            path + ".parts: " + Nearest.unknown("part", part, preset.rates().keySet()));
      }
    }
    Set<String> missing = new LinkedHashSet<>(preset.rates().keySet());
    missing.removeAll(meant.keySet());
    if (!missing.isEmpty() && !keys.bool("partial", false)) {
      throw new UserError(
          path
              + ".parts: preset "
              + preset.name()
              + " also has "
              + String.join(", ", missing)
              + "; name a task or a mixture for each, or set partial: true to leave them out");
    }
    Map<String, Double> weights = new LinkedHashMap<>();
    Map<String, Double> caps = new LinkedHashMap<>();
    meant.forEach(
        (part, own) -> {
          weights.merge(own, preset.rates().get(part), Double::sum);
          if (preset.caps().containsKey(part)) {
            caps.put(own, preset.caps().get(part));
          }
        });
    return new MixSpec(name, MixSpec.Strategy.EXPLICIT, weights, caps, 1, NO_CAP, 1);
  }

  /** The mixture that is named, else the only one that is no part of another, else all tasks. */
  private String root(Keys top) {
    if (top.has("mixture")) {
      String named = top.text("mixture").orElseThrow();
      if (tasks.containsKey(named)) {
        throw new UserError(
            top.path("mixture")
                + ": '"
                + named
                + "' is a task; mixtures: {NAME: {parts: ["
                + named
                + "]}} makes a mixture of it");
      }
      if (!mixes.containsKey(named)) {
        throw new UserError(
            top.path("mixture") + ": " + Nearest.unknown("mixture", named, mixes.keySet()));
      }
      return named;
    }
    Set<String> tops = new LinkedHashSet<>();
    if (top.has("mixtures")) {
      top.raw("mixtures").fieldNames().forEachRemaining(tops::add);
      mixes.values().forEach(mix -> tops.removeAll(mix.parts().keySet()));
      if (tops.size() == 1) {
        return tops.iterator().next();
      }
      if (tops.isEmpty()) {
        checks().cycles();
      }
      throw new UserError(
          file + ": mixture: missing, needs the one to train on: " + String.join(", ", tops));
    }
    List<String> all =
        tasks.values().stream().filter(t -> !t.heldOut()).map(TaskSpec::name).toList();
    mixes.put(MixSpec.ALL, MixSpec.proportional(MixSpec.ALL, all, NO_CAP, 1));
    return MixSpec.ALL;
  }
}
