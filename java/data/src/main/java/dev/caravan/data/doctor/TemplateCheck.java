package dev.caravan.data.doctor;

import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/**
 * Characters that a template writes and the tokenizer does not keep: line breaks that it makes
 * spaces of, as T5's does, characters that it leaves out, and those that it does not know. Told
 * once a template, from the tokens of the character between two letters: those of a space or of
 * nothing in its place, or one of an unknown piece.
 */
public final class TemplateCheck {
  private static final String CHECK = "template";
  private static final List<String> UNKNOWN = List.of("<unk>", "[UNK]");

  private final Tokenizer tokenizer;
  private final Map<Integer, Fate> known = new HashMap<>();
  private final Map<String, Use> uses = new LinkedHashMap<>();

  /** A template, and by whom it is used. */
  private record Use(String name, String writes, Set<String> users) {}

  /** What becomes of a character. */
  private enum Fate {
    KEPT(""),
    SPACE("made a space"),
    LOST("left out"),
    UNKNOWN("unknown");

    private final String words;

    Fate(String words) {
      this.words = words;
    }
  }

  /** A check of templates for {@code tokenizer}. */
  public TemplateCheck(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Takes a template.
   *
   * @param user what it is used by: a file, or a task
   * @param name of the template
   * @param writes all that it writes itself
   */
  public void add(String user, String name, String writes) {
    uses.computeIfAbsent(name + "\n" + writes, any -> new Use(name, writes, new TreeSet<>()))
        .users
        .add(user);
  }

  /** What was found in the templates so far. */
  public List<Finding> findings() {
    List<Finding> findings = new ArrayList<>();
    uses.values().forEach(use -> look(use, findings));
    return findings;
  }

  private void look(Use use, List<Finding> findings) {
    Map<Fate, Set<Integer>> fates = new EnumMap<>(Fate.class);
    use.writes
        .codePoints()
        .filter(c -> c != ' ' && !isPlainLetter(c))
        .forEach(
            c -> {
              Fate fate = known.computeIfAbsent(c, this::fate);
              fates.computeIfAbsent(fate, any -> new TreeSet<>()).add(c);
            });
    fates.remove(Fate.KEPT);
    if (fates.isEmpty()) {
      return;
    }
    String what =
        fates.entrySet().stream()
            .map(entry -> list(entry.getValue()) + " (" + entry.getKey().words + ")")
            .collect(Collectors.joining(", "));
    String first = use.users.iterator().next();
    String others =
        use.users.size() == 1
            ? ""
            : String.format(Locale.ROOT, " and %,d more", use.users.size() - 1);
    findings.add(
        Finding.warning(
            CHECK,
            "template '" + use.name + "' of " + first + others,
            "the tokenizer does not keep what it writes: " + what,
            "separate its parts with characters that the tokenizer keeps, or add these to its"
                + " added_tokens and to the model's vocabulary"));
  }

  private Fate fate(int character) {
    String shown = Character.toString(character);
    int[] ids = tokenizer.encode("a" + shown + "b");
    int[] apart = tokenizer.encode("a b");
    if (unknown(ids) > unknown(apart)) {
      return Fate.UNKNOWN;
    }
    if (Arrays.equals(ids, tokenizer.encode("ab"))) {
      return Fate.LOST;
    }
    return Arrays.equals(ids, apart) ? Fate.SPACE : Fate.KEPT;
  }

  private long unknown(int[] ids) {
    return UNKNOWN.stream()
        .map(tokenizer::id)
        .flatMapToInt(OptionalInt::stream)
        .mapToLong(unknown -> Arrays.stream(ids).filter(id -> id == unknown).count())
        .sum();
  }

  /** Every tokenizer of words has these, if not between two others. */
  private static boolean isPlainLetter(int c) {
    return c < 128 && Character.isLetterOrDigit(c);
  }

  private static String list(Set<Integer> characters) {
    return characters.stream().map(TemplateCheck::show).collect(Collectors.joining(" "));
  }

  private static String show(int character) {
    return switch (character) {
      case '\n' -> "a line break";
      case '\t' -> "a tab";
      case '\r' -> "a carriage return";
      default ->
          Character.isISOControl(character) || Character.isWhitespace(character)
              ? "U+%04X".formatted(character)
              : "'" + Character.toString(character) + "'";
    };
  }
}
