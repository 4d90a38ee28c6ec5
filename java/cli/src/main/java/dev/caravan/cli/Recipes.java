package dev.caravan.cli;

import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.train.Cwd;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The bundled recipes: run files in this jar, some with data of their own. A recipe names its data
 * as {@code {recipe}/FILE}; the files are unpacked to the user's cache before it is read.
 */
final class Recipes {
  private static final String PLACE = "{recipe}";

  /** Each recipe's name, and the files that come with it. */
  private static final Map<String, List<String>> BUNDLED = new LinkedHashMap<>();

  static {
    BUNDLED.put(
        "quickstart",
        List.of(
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "template.yaml",
            "rows.jsonl.gz",
            "facts.jsonl.gz",
            "phrasings.jsonl.gz"));
    BUNDLED.put("quickstart-base", List.of("corpus.jsonl.gz", "tokenizer.json"));
    BUNDLED.put("first-run", List.of("rows.jsonl", "held-out.jsonl", "tokenizer.json"));
    BUNDLED.put(
        "study-tasks",
        List.of(
            "currency.jsonl.gz",
            "country-code.jsonl.gz",
            "german-name.jsonl.gz",
            "currency-code.jsonl.gz",
            "time.jsonl.gz",
            "product.jsonl.gz",
            "language-code.jsonl.gz",
            "letter.jsonl.gz",
            "currency-unseen.jsonl.gz",
            "product-unseen.jsonl.gz"));
    BUNDLED.put("study-quality", List.of("curated.jsonl.gz", "raw.jsonl.gz", "held-out.jsonl.gz"));
    BUNDLED.put("glam-tiny", List.of("corpus.jsonl.gz"));
    BUNDLED.put("glam-tiny-dense", List.of());
    BUNDLED.put("llama", List.of());
    BUNDLED.put("llama-15m", List.of());
  }

  private Recipes() {}

  /**
   * The run of a recipe.
   *
   * @param recipe a bundled recipe's name or a YAML file
   * @throws UserError if there is neither, naming the nearest recipe
   */
  static RunConfig read(String recipe, List<String> assignments) {
    if (isStudy(recipe)) {
      throw new UserError("recipe " + recipe + " is a study: caravan study " + recipe);
    }
    if (BUNDLED.containsKey(recipe)) {
      return RunFile.parse(unpacked(recipe), "recipe " + recipe, recipe, assignments);
    }
    return RunFile.read(file(recipe), assignments);
  }

  private static boolean isStudy(String recipe) {
    return recipe.startsWith("study-") && BUNDLED.containsKey(recipe);
  }

  /**
   * A bundled recipe with the places of its files, and of those that it takes from other recipes.
   */
  private static String unpacked(String recipe) {
    String yaml = text(recipe);
    if (yaml.contains(PLACE)) {
      yaml = yaml.replace(PLACE, unpack(recipe).toString());
    }
    return withOthers(yaml);
  }

  /** Names of files of other recipes, as in {quickstart}/tokenizer.json. */
  private static String withOthers(String yaml) {
    String all = yaml;
    for (String other : BUNDLED.keySet()) {
      if (all.contains("{" + other + "}")) {
        all = all.replace("{" + other + "}", unpack(other).toString());
      }
    }
    return all;
  }

  /**
   * A study's text.
   *
   * @param yaml what the file says
   * @param where what errors name
   * @param name names the default output
   */
  record Text(String yaml, String where, String name) {}

  /**
   * A bundled study or a YAML file.
   *
   * @param output replaces the study's output folder; null leaves it
   */
  static Text study(String study, String output) {
    Text text;
    if (isStudy(study)) {
      text = new Text(unpacked(study), "study " + study, study);
    } else {
      Path file = file(study);
      try {
        String name = file.getFileName().toString().replaceFirst("\\.ya?ml$", "");
        text = new Text(Files.readString(file), file.toString(), name);
      } catch (IOException e) {
        throw new UserError(file + ": cannot be read; is it a text file?", e);
      }
    }
    if (output == null) {
      return text;
    }
    String without = text.yaml.replaceAll("(?m)^output:.*$", "");
    String folder = Cwd.resolve(output).toString().replace("'", "''");
    return new Text(without + "\noutput: '" + folder + "'\n", text.where, text.name);
  }

  private static Path file(String recipe) {
    Path file = Cwd.resolve(recipe);
    if (!Files.isRegularFile(file)) {
      boolean looksLikeFile = recipe.endsWith(".yaml") || recipe.endsWith(".yml");
      throw new UserError(
          looksLikeFile || recipe.contains("/")
              ? file + ": no such file"
              : Nearest.unknown("recipe", recipe, BUNDLED.keySet()) + " (or a YAML file)");
    }
    return file;
  }

  /** The recipes' names with the first line of each, which says what it is. */
  static Map<String, String> list() {
    Map<String, String> list = new LinkedHashMap<>();
    for (String name : BUNDLED.keySet()) {
      list.put(name, text(name).lines().findFirst().orElse("").replaceFirst("^# *", ""));
    }
    return list;
  }

  /** The text of a bundled recipe. */
  static String show(String name) {
    checkName(name);
    return text(name);
  }

  /**
   * Writes a recipe to a file, and its data to a folder beside it.
   *
   * @throws UserError if the file exists or cannot be written
   */
  static void copy(String name, String to) {
    checkName(name);
    Path file = Cwd.resolve(to);
    if (Files.exists(file)) {
      throw new UserError(file + ": exists already; choose another name");
    }
    String yaml = text(name);
    if (!BUNDLED.get(name).isEmpty()) {
      Path folder =
          file.resolveSibling(
              file.getFileName().toString().replaceFirst("\\.ya?ml$", "") + "-data");
      writeFiles(name, folder);
      yaml = yaml.replace(PLACE, folder.toString());
    }
    yaml = withOthers(yaml);
    DurableFiles.replace(file, yaml.getBytes(StandardCharsets.UTF_8));
  }

  private static void checkName(String name) {
    if (!BUNDLED.containsKey(name)) {
      throw new UserError(Nearest.unknown("recipe", name, BUNDLED.keySet()));
    }
  }

  /** Unpacks a recipe's files to a folder of the cache that their content names. */
  private static Path unpack(String name) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      for (String file : BUNDLED.get(name)) {
        digest.update(bytes(name + "/" + file));
      }
      String hash = HexFormat.of().formatHex(digest.digest()).substring(0, 12);
      Path folder = cache().resolve("recipes").resolve(name + "-" + hash);
      writeFiles(name, folder);
      return folder;
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Path cache() {
    String cache = System.getenv("XDG_CACHE_HOME");
    if (cache != null && cache.startsWith("/")) {
      return Path.of(cache, "caravan");
    }
    Path home = Path.of(System.getProperty("user.home"));
    return Files.isWritable(home)
        ? home.resolve(".cache").resolve("caravan")
        : Path.of(
            System.getProperty("java.io.tmpdir"), "caravan-" + System.getProperty("user.name"));
  }

  private static void writeFiles(String name, Path folder) {
    try {
      Files.createDirectories(folder);
      for (String file : BUNDLED.get(name)) {
        Path path = folder.resolve(file);
        byte[] content = bytes(name + "/" + file);
        if (!Files.exists(path) || Files.size(path) != content.length) {
          DurableFiles.replace(path, content);
        }
      }
    } catch (IOException e) {
      throw DurableFiles.cannotWrite(folder, e);
    }
  }

  private static String text(String name) {
    return new String(bytes(name + ".yaml"), StandardCharsets.UTF_8);
  }

  private static byte[] bytes(String resource) {
    try (InputStream in = Recipes.class.getResourceAsStream("recipes/" + resource)) {
      if (in == null) {
        throw new IllegalStateException("the jar lacks recipes/" + resource);
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }
}
