package dev.caravan.data.tokenize;

import java.util.Arrays;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Byte-pair encoding of the pieces that {@link WordTokens} cuts, where they are plain ASCII: what a
 * library's call costs is many times what merging a word of a few characters does. Other pieces,
 * and all of a tokenizer that it cannot be sure of, are the library's.
 *
 * <p>A word's symbols are merged pair by pair, the pair of the earliest merge first and of equal
 * ones the leftmost (Sennrich et al., arXiv 1508.07909, algorithm 1). Safe for several threads.
 */
final class WordBpe {
  private static final int ASCII = 128;

  /** A pair that is never merged. */
  private static final long NONE = Long.MAX_VALUE;

  private final Pattern words; // null where a piece is one word
  private final int[] symbols; // an id for each character
  private final String[] spelling; // of each character in tokens; null: no word is looked up
  private final Map<String, Integer> ids;
  private final long[] pairs; // an open hash table: both ids
  private final long[] merged; // the place in the list of merges, and the id of what they make

  private WordBpe(
      Pattern words,
      int[] symbols,
      String[] spelling,
      Map<String, Integer> ids,
      long[] pairs,
      long[] merged) {
    this.words = words;
    this.symbols = symbols;
    this.spelling = spelling;
    this.ids = ids;
    this.pairs = pairs;
    this.merged = merged;
  }

  /**
   * The encoder of a tokenizer that {@linkplain TokenizerJson#splitsAtSpaces splits at spaces};
   * null where it has merges of tokens that it lacks, or no token for a character.
   */
  static WordBpe of(TokenizerJson json) {
    if (!json.hasOneIdForEachName()) {
      return null;
    }
    String pattern = json.wordPattern();
    Map<String, Integer> ids = json.ids();
    String[] spelling = new String[ASCII];
    int[] symbols = new int[ASCII];
    for (char c = 0; c < ASCII; c++) {
      if (!isPlain(c)) {
        continue;
      }
      spelling[c] = String.valueOf(pattern == null ? SpaceSplits.marked(c) : byteLevel(c));
      Integer id = ids.get(spelling[c]);
      if (id == null && pattern == null) {
        id = ids.get(SpaceSplits.byteToken(c));
      }
      if (id == null) {
        return null;
      }
      symbols[c] = id;
    }
    long[] merges = json.merges(); // left and right, what they make
    if (merges == null) {
      return null;
    }
    int slots = Math.max(16, Integer.highestOneBit(merges.length) * 2);
    long[] pairs = new long[slots];
    long[] merged = new long[slots];
    Arrays.fill(pairs, NONE);
    for (int i = 0; i < merges.length; i += 2) {
      int slot = slot(pairs, merges[i]);
      pairs[slot] = merges[i];
      merged[slot] = (long) i << 31 | merges[i + 1]; // i is even: its half, shifted by 32
    }
    return new WordBpe(
        pattern == null ? null : Pattern.compile(pattern),
        symbols,
        json.looksWordsUp() ? spelling : null,
        ids,
        pairs,
        merged);
  }

  /** Whether a character is one that this class may take: printable ASCII, or a space. */
  static boolean isPlain(char c) {
    return c >= ' ' && c < ASCII - 1 || c == '\n' || c == '\t' || c == '\r';
  }

  /**
   * How byte-level tokens spell an ASCII character: those that are not printable come after 255.
   */
  private static char byteLevel(char c) {
    return c <= ' ' ? (char) (c + 256) : c;
  }

  /** The tokens of a piece; null if it has a character that is not {@linkplain #isPlain plain}. */
  int[] encode(String piece) {
    int length = piece.length();
    boolean isWord = true; // of letters alone, behind a space or not: a word for all patterns
    for (int i = 0; i < length; i++) {
      char c = piece.charAt(i);
      if (!isPlain(c)) {
        return null;
      }
      isWord &= (c | 0x20) >= 'a' && (c | 0x20) <= 'z' || c == ' ' && i == 0 && length > 1;
    }
    int[] parts = new int[length];
    long[] next = new long[length];
    if (isWord || words == null) {
      return Arrays.copyOf(parts, word(piece, 0, length, parts, next, 0));
    }
    int count = 0;
    Matcher matcher = words.matcher(piece);
    while (matcher.find()) {
      count = word(piece, matcher.start(), matcher.end(), parts, next, count);
    }
    return Arrays.copyOf(parts, count);
  }

  /** Puts a word's tokens at {@code at}; returns the place behind them. */
  private int word(String piece, int from, int to, int[] parts, long[] next, int at) {
    if (spelling != null) {
      Integer whole = ids.get(spelled(piece, from, to));
      if (whole != null) {
        parts[at] = whole;
        return at + 1;
      }
    }
    int end = at;
    for (int i = from; i < to; i++) {
      parts[end++] = symbols[piece.charAt(i)];
    }
    for (int i = at; i + 1 < end; i++) {
      next[i] = merge(parts[i], parts[i + 1]);
    }
    while (true) {
      long first = NONE;
      int place = 0;
      for (int i = at; i + 1 < end; i++) {
        if (next[i] < first) {
          first = next[i];
          place = i;
        }
      }
      if (first == NONE) {
        return end;
      }
      parts[place] = (int) first;
      end--;
      for (int i = place + 1; i < end; i++) {
        parts[i] = parts[i + 1];
        next[i] = next[i + 1];
      }
      if (place > at) {
        next[place - 1] = merge(parts[place - 1], parts[place]);
      }
      if (place + 1 < end) {
        next[place] = merge(parts[place], parts[place + 1]);
      }
    }
  }

  private String spelled(String piece, int from, int to) {
    StringBuilder name = new StringBuilder(to - from);
    for (int i = from; i < to; i++) {
      name.append(spelling[piece.charAt(i)]);
    }
    return name.toString();
  }

  private long merge(int left, int right) {
    int slot = slot(pairs, (long) left << 32 | right);
    return pairs[slot] == NONE ? NONE : merged[slot];
  }

  /** Where a pair is, or would be put. */
  private static int slot(long[] pairs, long pair) {
    int mask = pairs.length - 1;
    int slot = (int) (pair * 0x9E3779B97F4A7C15L >>> 33) & mask;
    while (pairs[slot] != pair && pairs[slot] != NONE) {
      slot = slot + 1 & mask;
    }
    return slot;
  }
}
