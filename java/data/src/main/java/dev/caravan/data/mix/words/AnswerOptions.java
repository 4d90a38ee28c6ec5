package dev.caravan.data.mix.words;

import dev.caravan.data.mixture.Choices;
import dev.caravan.data.source.Example;
import dev.caravan.data.template.TemplateMismatch;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * The answers among which an example chooses. Templates show them as {@code {options}}; the field
 * with the answer then is the label of the right one, or its text where options have no labels.
 *
 * @param fields that hold them, one each, or one field with an option a line; empty where {@code
 *     texts} has them
 * @param texts the same ones for every example; empty where {@code fields} has them
 * @param answer the field with the right one
 * @param answerIs what stands in that field
 * @param styles one of which is chosen for an example
 * @param headers what stands before the list; one of which is chosen
 * @param target what answers say
 * @param share of the examples that show them
 */
public record AnswerOptions(
    List<String> fields,
    List<String> texts,
    String answer,
    AnswerIs answerIs,
    List<OptionStyle> styles,
    List<String> headers,
    Target target,
    double share) {
  /** The field of templates. */
  public static final String FIELD = "options";

  /** Where a task names none; the first is FLAN's. */
  public static final List<String> HEADERS =
      List.of(
          "OPTIONS:",
          "Options:",
          "Choices:",
          "Possible answers:",
          "The answer is one of these:",
          "Choose one:");

  private static final int STYLE = 1;
  private static final int HEADER = 2;
  private static final int SHOWN = 3;

  public AnswerOptions {
    fields = List.copyOf(fields);
    texts = List.copyOf(texts);
    styles = List.copyOf(styles);
    headers = List.copyOf(headers);
  }

  /** What the field with the answer holds. */
  public enum AnswerIs {
    /** The text of the right option. */
    TEXT,
    /** Its number, from 0. */
    INDEX,
    /** Its letter, from A; brackets do not matter. */
    LETTER
  }

  /** What answers say where options are shown. */
  public enum Target {
    /** The label of the right option, if the style has labels. */
    LABEL,
    /** Its text. */
    TEXT
  }

  /**
   * An example with its options listed and its answer as it is to be said.
   *
   * @param key of the choices
   * @param isNamed whether the template shows them
   * @throws TemplateMismatch naming the field, if it lacks options or its answer is none of them
   */
  Example.Fields apply(Example.Fields example, long key, boolean isNamed) {
    List<String> all = all(example);
    return said(example, all, right(all, value(example, answer)), key, isNamed);
  }

  /** As above, once for each option, as though it were the right one. */
  List<Example.Fields> applyEach(Example.Fields example, long key, boolean isNamed) {
    List<String> all = all(example);
    return IntStream.range(0, all.size())
        .mapToObj(option -> said(example, all, option, key, isNamed))
        .toList();
  }

  /**
   * The number of an example's right option, from 0.
   *
   * @throws TemplateMismatch as {@link #apply} does
   */
  public int right(Example.Fields example) {
    return right(all(example), value(example, answer));
  }

  private List<String> all(Example.Fields example) {
    return texts.isEmpty() ? read(example) : texts;
  }

  private Example.Fields said(
      Example.Fields example, List<String> all, int option, long key, boolean isNamed) {
    String given = value(example, answer);
    boolean shown = isNamed && Choices.share(key, SHOWN) < share;
    OptionStyle style = style(key, all.size());
    String said =
        shown && target == Target.LABEL && style.isLabelled()
            ? style.label(option)
            : all.get(option);
    Map<String, String> values = new LinkedHashMap<>(example.values());
    values.put(FIELD, shown ? list(all, style, key) : "");
    values.put(answer, said);
    for (String same : List.of("target", "output")) {
      if (given.equals(values.get(same))) {
        values.put(same, said);
      }
    }
    return new Example.Fields(
        values,
        example.prompt(),
        given.equals(example.target()) ? said : example.target(),
        example.alternatives());
  }

  private OptionStyle style(long key, int options) {
    List<OptionStyle> enough = styles.stream().filter(style -> style.most() >= options).toList();
    if (enough.isEmpty()) {
      throw new TemplateMismatch(
          options
              + " options, more than the letters of the styles; allow a style of numbers, \"1.\"");
    }
    return enough.get(Choices.below(enough.size(), key, STYLE));
  }

  private String list(List<String> all, OptionStyle style, long key) {
    StringBuilder text = new StringBuilder(headers.get(Choices.below(headers.size(), key, HEADER)));
    for (int i = 0; i < all.size(); i++) {
      text.append(text.isEmpty() ? "" : "\n").append(style.mark(i)).append(' ').append(all.get(i));
    }
    return text.toString();
  }

  private List<String> read(Example.Fields example) {
    List<String> all = new ArrayList<>();
    for (String field : fields) {
      String text = value(example, field);
      if (fields.size() == 1) {
        text.lines().map(String::strip).filter(line -> !line.isEmpty()).forEach(all::add);
      } else {
        all.add(text.strip());
      }
    }
    if (all.size() < 2) {
      throw new TemplateMismatch(
          "field '" + fields.get(0) + "' holds " + all.size() + " options, needs at least 2");
    }
    return all;
  }

  private static String value(Example.Fields example, String field) {
    String value = example.values().get(field);
    if (value == null) {
      throw new TemplateMismatch("no field '" + field + "', which the task's options name");
    }
    return value;
  }

  private int right(List<String> all, String given) {
    int right =
        switch (answerIs) {
          case TEXT -> all.indexOf(given.strip());
          case INDEX -> index(given.strip());
          case LETTER -> letter(given.strip());
        };
    if (right < 0 || right >= all.size()) {
      throw new TemplateMismatch(
          "field '"
              + answer
              + "' is '"
              + given
              + "', needs the "
              + answerIs.name().toLowerCase(java.util.Locale.ROOT)
              + " of one of the options: "
              + String.join(" | ", all));
    }
    return right;
  }

  private static int index(String given) {
    return given.matches("[0-9]{1,4}") ? Integer.parseInt(given) : -1;
  }

  private static int letter(String given) {
    String bare = given.replaceAll("[()\\[\\].:]", "").strip();
    return bare.length() == 1 ? Character.toUpperCase(bare.charAt(0)) - 'A' : -1;
  }
}
