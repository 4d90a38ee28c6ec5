package dev.caravan.data.tokenize;

import java.util.Arrays;
import java.util.Collection;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * Tokens of a text from those of its words, where a tokenizer is such that both are the same
 * ({@link TokenizerJson#splitsAtSpaces}): cut before every single space between two printable ASCII
 * characters, a text's tokens are its pieces'. Pieces that were met before cost a look-up.
 *
 * <p>A text that spells an added token is left to the tokenizer as a whole. Safe for several
 * threads: entries are immutable, and one that a thread does not see yet is made again.
 */
final class WordTokens {
  /**
   * Of a table, four bytes a slot; 12 MB of questions and answers have 119,000 different pieces.
   */
  private static final int LOG_SLOTS = 17;

  /** Longer pieces hardly come twice. */
  private static final int LONGEST = 48;

  private static final int ASCII = 128;

  private final Function<String, int[]> atStart;
  private final Function<String, int[]> following;
  private final WordBpe bpe;
  private final Entry[] first;
  private final Entry[] later;
  private final String[] added;
  private final String firsts; // the characters that added tokens begin with

  /** Characters of ASCII that two numbers hold, so that most pieces are compared at once. */
  private static final int PACKED = 16;

  /**
   * A piece and its tokens.
   *
   * @param piece null where the numbers tell it
   * @param high its characters before the last eight, a byte each
   * @param low its last eight
   * @param length how many there are
   */
  private record Entry(String piece, long high, long low, int length, int[] ids) {}

  /**
   * @param atStart encodes text at the start of a text
   * @param following encodes text that follows other text; the same one where there is no
   *     difference
   * @param added the added tokens, all of which begin with an ASCII character
   * @param bpe encodes plain pieces as {@code following} does, or not at all; null to leave all to
   *     it
   */
  WordTokens(
      Function<String, int[]> atStart,
      Function<String, int[]> following,
      Collection<String> added,
      WordBpe bpe) {
    this.atStart = atStart;
    this.following = following;
    this.bpe = bpe;
    this.added = added.toArray(String[]::new);
    firsts =
        added.stream().map(token -> token.substring(0, 1)).distinct().collect(Collectors.joining());
    later = new Entry[1 << LOG_SLOTS];
    first = atStart == following ? later : new Entry[1 << LOG_SLOTS];
  }

  /** The tokens of a text at the start of a text. */
  int[] encode(String text) {
    return encode(text, atStart, first);
  }

  /** The tokens of a text that follows other text. */
  int[] encodeContinuation(String text) {
    return encode(text, following, later);
  }

  private int[] encode(String text, Function<String, int[]> engine, Entry[] entries) {
    if (spellsAdded(text)) {
      return engine.apply(text);
    }
    int end = text.length();
    int[] ids = new int[end / 3 + 8];
    int count = 0;
    int from = 0;
    long high = 0;
    long low = 0;
    int beyond = 0; // bits that no ASCII character has
    Function<String, int[]> now = engine;
    Entry[] table = entries;
    char before = 0;
    for (int i = 0; i < end; i++) {
      char c = text.charAt(i);
      if (c == ' ' && isPrintable(before) && i + 1 < end && isPrintable(text.charAt(i + 1))) {
        int[] piece =
            beyond < ASCII && i - from <= PACKED
                ? packed(text, from, i, high, low, now, table)
                : piece(text, from, i, now, table);
        ids = append(ids, count, piece);
        count += piece.length;
        from = i;
        high = 0;
        low = 0;
        beyond = 0;
        now = following;
        table = later;
      }
      high = high << 8 | low >>> 56;
      low = low << 8 | c;
      beyond |= c;
      before = c;
    }
    int[] piece =
        beyond < ASCII && end - from <= PACKED
            ? packed(text, from, end, high, low, now, table)
            : piece(text, from, end, now, table);
    if (count == 0) {
      return piece.clone();
    }
    ids = append(ids, count, piece);
    return Arrays.copyOf(ids, count + piece.length);
  }

  private int[] packed(
      String text,
      int from,
      int to,
      long high,
      long low,
      Function<String, int[]> engine,
      Entry[] table) {
    int slot = (int) ((low ^ high * 31) * 0x9E3779B97F4A7C15L >>> Long.SIZE - LOG_SLOTS);
    Entry known = table[slot];
    if (known != null
        && known.low == low
        && known.high == high
        && known.length == to - from
        && known.piece == null) {
      return known.ids;
    }
    int[] ids = encodePiece(text.substring(from, to), engine);
    table[slot] = new Entry(null, high, low, to - from, ids);
    return ids;
  }

  private int[] piece(
      String text, int from, int to, Function<String, int[]> engine, Entry[] table) {
    String piece = text.substring(from, to);
    if (to - from > LONGEST) {
      return engine.apply(piece);
    }
    int slot = piece.hashCode() * 0x9E3779B1 >>> Integer.SIZE - LOG_SLOTS;
    Entry known = table[slot];
    if (known != null && piece.equals(known.piece)) {
      return known.ids;
    }
    int[] ids = encodePiece(piece, engine);
    table[slot] = new Entry(piece, 0, 0, to - from, ids);
    return ids;
  }

  private int[] encodePiece(String piece, Function<String, int[]> engine) {
    int[] ids = bpe != null && engine == following ? bpe.encode(piece) : null;
    return ids == null ? engine.apply(piece) : ids;
  }

  private static int[] append(int[] ids, int count, int[] more) {
    int[] into =
        count + more.length <= ids.length
            ? ids
            : Arrays.copyOf(ids, Math.max(2 * ids.length, count + more.length));
    System.arraycopy(more, 0, into, count, more.length);
    return into;
  }

  private boolean spellsAdded(String text) {
    for (int i = 0; i < firsts.length(); i++) {
      char begins = firsts.charAt(i);
      for (int at = text.indexOf(begins); at >= 0; at = text.indexOf(begins, at + 1)) {
        for (String token : added) {
          if (text.startsWith(token, at)) {
            return true;
          }
        }
      }
    }
    return false;
  }

  private static boolean isPrintable(char c) {
    return c > ' ' && c < ASCII - 1;
  }
}
