package dev.caravan.data.mix;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.words.AnswerOptions;
import dev.caravan.data.mix.words.Delimiters;
import dev.caravan.data.mix.words.OptionStyle;
import dev.caravan.data.mix.words.Phrases;
import dev.caravan.data.mix.words.Shots;
import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.template.Template;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/** Reads a task's keys {@code shots}, {@code options} and {@code phrases}. */
final class WordingKeys {
  private static final int MOST_SHOTS = 64;

  private WordingKeys() {}

  static Wording read(Keys task, List<Template> templates) {
    Set<String> named = new TreeSet<>();
    templates.forEach(template -> named.addAll(template.fields()));
    Optional<AnswerOptions> options =
        task.has("options") ? Optional.of(options(task, named)) : Optional.empty();
    Optional<Shots> shots = task.has("shots") ? Optional.of(shots(task, named)) : Optional.empty();
    return new Wording(shots, options, phrases(task, named));
  }

  private static Shots shots(Keys task, Set<String> named) {
    String path = task.path("shots");
    JsonNode node = task.raw("shots");
    if (!node.isObject()) {
      int[] count = count(node, path);
      return new Shots(count[0], count[1], Shots.FLAN_SHARE, Shots.Style.TEMPLATE, List.of(), 0);
    }
    Keys keys = Keys.of(node, path, "count", "share", "delimiters", "tokens");
    if (!keys.has("count")) {
      throw new UserError(path + ".count: missing, needs a number of exemplars or two, [0, 10]");
    }
    int[] count = count(keys.raw("count"), keys.path("count"));
    Shots.Style style = Shots.Style.TEMPLATE;
    List<Delimiters> delimiters = new ArrayList<>();
    JsonNode given = keys.raw("delimiters");
    if (given != null && given.isTextual()) {
      style =
          switch (given.asText()) {
            case "template" -> Shots.Style.TEMPLATE;
            case "flan" -> Shots.Style.FLAN;
            default -> throw keys.wrong("delimiters", "template, flan, or a list of maps");
          };
    } else if (given != null && !given.isNull()) {
      style = Shots.Style.OWN;
      delimiters.addAll(delimiters(keys, given));
    }
    if (style != Shots.Style.TEMPLATE && named.contains("shots")) {
      throw new UserError(
          path
              + ".delimiters: a template says where {shots} stand, so it has delimiters of its own");
    }
    return new Shots(
        count[0],
        count[1],
        keys.share("share", Shots.FLAN_SHARE),
        style,
        delimiters,
        keys.integer("tokens", 1, 0));
  }

  private static int[] count(JsonNode node, String path) {
    boolean range = node.isArray() && node.size() == 2;
    JsonNode least = range ? node.get(0) : node;
    JsonNode most = range ? node.get(1) : node;
    boolean whole = least.isInt() && most.isInt();
    if (!whole
        || least.asInt() < 0
        || most.asInt() < Math.max(1, least.asInt())
        || most.asInt() > MOST_SHOTS) {
      throw new UserError(
          "%s: got %s, needs a whole number from 1 to %d, or the least and the most, [0, 10]"
              .formatted(path, node, MOST_SHOTS));
    }
    return new int[] {least.asInt(), most.asInt()};
  }

  private static List<Delimiters> delimiters(Keys shots, JsonNode given) {
    if (!given.isArray() || given.isEmpty()) {
      throw shots.wrong("delimiters", "template, flan, or a list of maps");
    }
    List<Delimiters> all = new ArrayList<>();
    for (int i = 0; i < given.size(); i++) {
      Keys keys =
          Keys.of(
              given.get(i),
              shots.path("delimiters") + "[" + i + "]",
              "input",
              "between",
              "target",
              "separator");
      all.add(
          new Delimiters(
              keys.words("input", ""),
              keys.words("between", "\n"),
              keys.words("target", ""),
              keys.words("separator", "\n\n")));
    }
    return all;
  }

  private static AnswerOptions options(Keys task, Set<String> named) {
    Keys keys =
        Keys.of(
            task.raw("options"),
            task.path("options"),
            "fields",
            "list",
            "answer",
            "answer_is",
            "styles",
            "headers",
            "target",
            "share");
    List<String> fields = keys.texts("fields");
    List<String> list = keys.texts("list");
    if (fields.isEmpty() == list.isEmpty()) {
      throw new UserError(
          task.path("options") + ": needs either fields, which hold the options, or their list");
    }
    for (JsonNode option : keys.has("list") ? keys.raw("list") : List.<JsonNode>of()) {
      if (option.isBoolean()) {
        throw keys.wrong(
            "list", "texts; YAML takes yes, no, on and off for true and false: quote them");
      }
    }
    if (list.size() == 1) {
      throw keys.wrong("list", "at least 2 options");
    }
    if (!keys.has("answer")) {
      throw new UserError(keys.path("answer") + ": missing, needs the field with the right option");
    }
    if (!named.contains(AnswerOptions.FIELD)) {
      throw new UserError(
          task.path("options")
              + ": no template of the task shows {options}; give it one that does");
    }
    return new AnswerOptions(
        fields,
        list,
        keys.text("answer").orElseThrow(),
        keys.oneOf("answer_is", AnswerOptions.AnswerIs.TEXT),
        styles(keys),
        keys.has("headers") ? keys.texts("headers") : AnswerOptions.HEADERS,
        keys.oneOf("target", AnswerOptions.Target.LABEL),
        keys.share("share", 1));
  }

  private static List<OptionStyle> styles(Keys keys) {
    if (!keys.has("styles")) {
      return OptionStyle.BUNDLED;
    }
    List<OptionStyle> styles = new ArrayList<>();
    for (String mark : keys.texts("styles")) {
      styles.add(
          OptionStyle.of(mark)
              .orElseThrow(
                  () ->
                      keys.wrong(
                          "styles",
                          "marks of the first option with one A, a or 1, or none: \"(A)\", \"1.\","
                              + " \"-\"")));
    }
    return styles;
  }

  /** Those of the task, and the bundled ones that its templates name. */
  private static Map<String, List<String>> phrases(Keys task, Set<String> named) {
    Map<String, List<String>> phrases = new TreeMap<>();
    Phrases.BUNDLED.forEach(
        (name, texts) -> {
          if (named.contains(name)) {
            phrases.put(name, texts);
          }
        });
    task.each(
            "phrases",
            (path, node) -> {
              List<String> texts = new ArrayList<>();
              for (JsonNode text : node.isArray() ? node : List.of(node)) {
                if (!text.isTextual()) {
                  throw new UserError(path + ": got " + text + ", needs a list of texts");
                }
                texts.add(text.asText());
              }
              if (texts.isEmpty()) {
                throw new UserError(path + ": needs at least one text");
              }
              return texts;
            })
        .forEach(
            (name, texts) -> {
              if (!named.contains(name)) {
                throw new UserError(
                    "%s.%s: no template of the task names {%s}"
                        .formatted(task.path("phrases"), name, name));
              }
              phrases.put(name, texts);
            });
    return phrases;
  }
}
