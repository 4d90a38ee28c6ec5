package dev.caravan.cli.quickstart;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Trains a byte-pair vocabulary (Sennrich et al. 2016, arXiv 1508.07909) over bytes, as GPT-2 does:
 * every byte is a token, so every text can be written. Of equally frequent pairs the first in
 * alphabetical order is merged.
 */
final class BytePairs {
  /** Special tokens, in the order of their ids from 0. */
  static final List<String> SPECIAL = List.of("<pad>", "<s>", "</s>");

  /** How GPT-2 cuts text into words before it merges; the libraries' ByteLevel does the same. */
  private static final Pattern WORD =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");

  private static final int BYTES = 256;

  /** Characters that stand for the bytes that cannot be shown begin here. */
  private static final int SUBSTITUTES = 0x100;

  private record Pair(String left, String right) implements Comparable<Pair> {
    @Override
    public int compareTo(Pair other) {
      return Comparator.comparing(Pair::left).thenComparing(Pair::right).compare(this, other);
    }
  }

  private final List<String> vocabulary = new ArrayList<>(SPECIAL);
  private final List<Pair> merges = new ArrayList<>();

  /**
   * @param texts what the tokens should be short for
   * @param size tokens in all, special ones and the 256 bytes included
   */
  BytePairs(List<String> texts, int size) {
    String[] alphabet = alphabet();
    new TreeMap<>(indexed(alphabet)).keySet().forEach(vocabulary::add);
    Map<List<String>, Integer> words = words(texts, alphabet);
    while (vocabulary.size() < size) {
      Pair best = mostFrequent(words);
      if (best == null) {
        return;
      }
      merges.add(best);
      vocabulary.add(best.left + best.right);
      words = merged(words, best);
    }
  }

  /** The tokenizer in the format of Hugging Face's tokenizer.json. */
  String toJson() {
    ObjectMapper json = new ObjectMapper();
    ObjectNode root = json.createObjectNode();
    root.put("version", "1.0");
    root.putNull("truncation");
    root.putNull("padding");
    ArrayNode added = root.putArray("added_tokens");
    for (int id = 0; id < SPECIAL.size(); id++) {
      ObjectNode token = added.addObject();
      token.put("id", id);
      token.put("content", SPECIAL.get(id));
      for (String no : List.of("single_word", "lstrip", "rstrip", "normalized")) {
        token.put(no, false);
      }
      token.put("special", true);
    }
    root.putNull("normalizer");
    byteLevel(root.putObject("pre_tokenizer"));
    postProcessor(root.putObject("post_processor"));
    byteLevel(root.putObject("decoder"));
    ObjectNode model = root.putObject("model");
    model.put("type", "BPE");
    for (String none :
        List.of("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")) {
      model.putNull(none);
    }
    for (String no : List.of("fuse_unk", "byte_fallback", "ignore_merges")) {
      model.put(no, false);
    }
    ObjectNode ids = model.putObject("vocab");
    for (int id = 0; id < vocabulary.size(); id++) {
      ids.put(vocabulary.get(id), id);
    }
    ArrayNode pairs = model.putArray("merges");
    merges.forEach(pair -> pairs.addArray().add(pair.left).add(pair.right));
    try {
      return json.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n";
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void byteLevel(ObjectNode node) {
    node.put("type", "ByteLevel");
    node.put("add_prefix_space", false);
    node.put("trim_offsets", true);
    node.put("use_regex", true);
  }

  /** Every sequence begins with the second special token. */
  private static void postProcessor(ObjectNode node) {
    String begin = SPECIAL.get(1);
    node.put("type", "TemplateProcessing");
    for (String kind : List.of("single", "pair")) {
      ArrayNode parts = node.putArray(kind);
      parts.addObject().putObject("SpecialToken").put("id", begin).put("type_id", 0);
      parts.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
      if (kind.equals("pair")) {
        parts.addObject().putObject("Sequence").put("id", "B").put("type_id", 0);
      }
    }
    ObjectNode token = node.putObject("special_tokens").putObject(begin);
    token.put("id", begin);
    token.putArray("ids").add(1);
    token.putArray("tokens").add(begin);
  }

  /** GPT-2's character for each byte: itself where it can be shown, else one from 256 on. */
  private static String[] alphabet() {
    String[] characters = new String[BYTES];
    int substitute = SUBSTITUTES;
    for (int b = 0; b < BYTES; b++) {
      boolean shown = b > ' ' && b < 0x7F || b > 0xA0 && b != 0xAD;
      characters[b] = Character.toString(shown ? b : substitute++);
    }
    return characters;
  }

  private static Map<String, Integer> indexed(String[] characters) {
    Map<String, Integer> index = new HashMap<>();
    for (int b = 0; b < characters.length; b++) {
      index.put(characters[b], b);
    }
    return index;
  }

  private static Map<List<String>, Integer> words(List<String> texts, String[] alphabet) {
    Map<String, Integer> counts = new TreeMap<>();
    for (String text : texts) {
      WORD.matcher(text)
          .results()
          .map(MatchResult::group)
          .forEach(w -> counts.merge(w, 1, Integer::sum));
    }
    Map<List<String>, Integer> words = new LinkedHashMap<>();
    counts.forEach(
        (word, count) -> {
          List<String> characters = new ArrayList<>();
          for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
            characters.add(alphabet[b & 0xFF]);
          }
          words.put(characters, count);
        });
    return words;
  }

  private static Pair mostFrequent(Map<List<String>, Integer> words) {
    Map<Pair, Integer> counts = new HashMap<>();
    words.forEach(
        (word, count) -> {
          for (int i = 1; i < word.size(); i++) {
            counts.merge(new Pair(word.get(i - 1), word.get(i)), count, Integer::sum);
          }
        });
    return counts.entrySet().stream()
        .min(
            Map.Entry.<Pair, Integer>comparingByValue(Comparator.reverseOrder())
                .thenComparing(Map.Entry.comparingByKey()))
        .map(Map.Entry::getKey)
        .orElse(null);
  }

  private static Map<List<String>, Integer> merged(Map<List<String>, Integer> words, Pair pair) {
    Map<List<String>, Integer> after = new LinkedHashMap<>();
    words.forEach(
        (word, count) -> {
          List<String> tokens = new ArrayList<>();
          for (int i = 0; i < word.size(); i++) {
            boolean both =
                i + 1 < word.size()
                    && word.get(i).equals(pair.left)
                    && word.get(i + 1).equals(pair.right);
            tokens.add(both ? pair.left + pair.right : word.get(i));
            i += both ? 1 : 0;
          }
          after.put(tokens, count);
        });
    return after;
  }
}
