package dev.caravan.data.tokenize;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;

/**
 * Which tokenizers of {@code tokenizer.json} never make one token of what lies on both sides of a
 * space between two printable ASCII characters, cut before the space. Only those of which it can be
 * shown count; any other setting means no.
 *
 * <ul>
 *   <li>Byte-level BPE: each known pattern lets a space begin a match, or be one, and lets no match
 *       that begins earlier take it.
 *   <li>BPE over a whole text in which spaces were replaced by U+2581, with byte fallback: merges
 *       are local, so none reaches over the cut if no token has that mark behind another character.
 *       Every byte being a token, there is no unknown one to be joined.
 * </ul>
 */
final class SpaceSplits {
  private static final char MARK = '\u2581';
  private static final int BYTES = 256;

  private static final String GPT2 =
      "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

  /** Patterns of cl100k, Llama 3 and Qwen 2. */
  private static final Set<String> PATTERNS =
      Set.of(
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
              + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
              + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+");

  private SpaceSplits() {}

  /**
   * Whether it is one of them.
   *
   * @param settings of the model, without its lists
   * @param pieces all tokens
   */
  static boolean in(
      JsonNode normalizer,
      JsonNode preTokenizer,
      JsonNode settings,
      JsonNode added,
      Collection<String> pieces) {
    if (!settings.path("type").asText().equals("BPE")
        || settings.path("dropout").asDouble() != 0
        || !settings.path("continuing_subword_prefix").asText("").isEmpty()
        || !settings.path("end_of_word_suffix").asText("").isEmpty()
        || !arePlain(added)) {
      return false;
    }
    return isByteLevel(normalizer, preTokenizer)
        || isMarked(normalizer, preTokenizer, settings, pieces);
  }

  /** The expression that cuts a text into words; null for one that has no pre-tokenizer. */
  static String pattern(JsonNode preTokenizer) {
    if (preTokenizer.isNull()) {
      return null;
    }
    JsonNode split = preTokenizer.path("pretokenizers").path(0).path("pattern").path("Regex");
    return split.isMissingNode() ? GPT2 : split.asText();
  }

  /** How a token of the second kind spells a character. */
  static char marked(char c) {
    return c == ' ' ? MARK : c;
  }

  /** The name of a byte's token of the second kind. */
  static String byteToken(int b) {
    return "<0x%02X>".formatted(b);
  }

  /** Added tokens are looked for first, some with the spaces around them. */
  private static boolean arePlain(JsonNode added) {
    for (JsonNode token : added) {
      String content = token.path("content").asText();
      boolean plain =
          !content.isEmpty()
              && content.charAt(0) > ' '
              && content.charAt(0) < 127
              && content.chars().noneMatch(c -> c == MARK || Character.isWhitespace(c))
              && !token.path("lstrip").asBoolean()
              && !token.path("rstrip").asBoolean()
              && !token.path("single_word").asBoolean();
      if (!plain) {
        return false;
      }
    }
    return true;
  }

  private static boolean isByteLevel(JsonNode normalizer, JsonNode preTokenizer) {
    boolean composes = normalizer.path("type").asText().equals("NFC");
    if (!(normalizer.isNull() || composes)) {
      return false;
    }
    if (preTokenizer.path("type").asText().equals("ByteLevel")) {
      return preTokenizer.path("use_regex").asBoolean(true);
    }
    JsonNode steps = preTokenizer.path("pretokenizers");
    JsonNode split = steps.path(0);
    JsonNode bytes = steps.path(1);
    return preTokenizer.path("type").asText().equals("Sequence")
        && steps.size() == 2
        && split.path("type").asText().equals("Split")
        && split.path("behavior").asText().equals("Isolated")
        && !split.path("invert").asBoolean()
        && PATTERNS.contains(split.path("pattern").path("Regex").asText())
        && bytes.path("type").asText().equals("ByteLevel")
        && !bytes.path("add_prefix_space").asBoolean(true)
        && !bytes.path("use_regex").asBoolean(true);
  }

  private static boolean isMarked(
      JsonNode normalizer, JsonNode preTokenizer, JsonNode settings, Collection<String> pieces) {
    List<JsonNode> steps = new ArrayList<>();
    if (normalizer.path("type").asText().equals("Sequence")) {
      normalizer.path("normalizers").forEach(steps::add);
    } else {
      steps.add(normalizer);
    }
    boolean replaces = false;
    for (JsonNode step : steps) {
      String type = step.path("type").asText();
      boolean replace =
          type.equals("Replace")
              && step.path("pattern").path("String").asText().equals(" ")
              && step.path("content").asText().equals(String.valueOf(MARK));
      boolean prepend =
          type.equals("Prepend") && step.path("prepend").asText().equals(String.valueOf(MARK));
      if (!replace && !prepend) {
        return false;
      }
      replaces |= replace;
    }
    return replaces
        && preTokenizer.isNull()
        && settings.path("byte_fallback").asBoolean()
        && !settings.path("ignore_merges").asBoolean()
        && pieces.stream().noneMatch(SpaceSplits::hasMarkInside)
        && hasAllBytes(pieces);
  }

  private static boolean hasMarkInside(String piece) {
    for (int i = 1; i < piece.length(); i++) {
      if (piece.charAt(i) == MARK && piece.charAt(i - 1) != MARK) {
        return true;
      }
    }
    return false;
  }

  private static boolean hasAllBytes(Collection<String> pieces) {
    for (int b = 0; b < BYTES; b++) {
      if (!pieces.contains(byteToken(b))) {
        return false;
      }
    }
    return true;
  }
}
