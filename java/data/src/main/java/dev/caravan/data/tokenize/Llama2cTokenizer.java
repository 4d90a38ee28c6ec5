package dev.caravan.data.tokenize;

import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheKey;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.PriorityQueue;

/**
 * The vocabulary file of karpathy/llama2.c: little-endian int32 length of the longest piece, then
 * for each piece float32 score, int32 length, UTF-8 bytes. Ids 0, 1, 2 are unknown, BOS and EOS;
 * ids 3 to 258 are the single bytes.
 *
 * <p>Encoding, as that project does it: a space is put before a text that is not empty; characters
 * become pieces, or their bytes where there is no such piece; then the neighbours whose union is
 * the piece of the highest score are joined, the leftmost first of equals, until no union is a
 * piece.
 */
public final class Llama2cTokenizer implements Tokenizer {
  private static final int BOS = 1;
  private static final int EOS = 2;
  private static final int FIRST_BYTE = 3;
  private static final int SPECIAL = FIRST_BYTE + 256;
  private static final int LONGEST_PIECE = 1 << 16;

  private final List<String> pieces;
  private final float[] scores;
  private final String hash;
  private final Map<String, Integer> ids = new HashMap<>();

  /** The piece that two neighbours make, by their ids. */
  private final Map<Long, Integer> joined = new HashMap<>();

  private Llama2cTokenizer(List<String> pieces, float[] scores, String hash) {
    this.pieces = pieces;
    this.scores = scores;
    this.hash = hash;
    for (int id = 0; id < pieces.size(); id++) {
      ids.putIfAbsent(pieces.get(id), id);
    }
    ids.forEach(this::addJoins);
  }

  /**
   * Opens a .bin file.
   *
   * @throws UserError if it cannot be read, ends within a piece, or is too short to be one
   */
  public static Llama2cTokenizer open(Path file) {
    ByteBuffer in;
    try {
      in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    int longest = in.remaining() < 4 ? 0 : in.getInt();
    if (longest < 1 || longest > LONGEST_PIECE) {
      throw new UserError(
          file + ": not a llama2.c tokenizer: longest piece of " + longest + " bytes");
    }
    List<String> pieces = new ArrayList<>();
    float[] scores = new float[1024];
    while (in.hasRemaining()) {
      int at = in.position();
      float score = in.remaining() < 8 ? Float.NaN : in.getFloat();
      int length = Float.isNaN(score) ? -1 : in.getInt();
      if (length < 0 || length > longest || length > in.remaining()) {
        throw new UserError(
            file
                + ": not a llama2.c tokenizer: piece "
                + pieces.size()
                + " at byte "
                + at
                + " is malformed");
      }
      byte[] bytes = new byte[length];
      in.get(bytes);
      if (pieces.size() == scores.length) {
        scores = Arrays.copyOf(scores, 2 * scores.length);
      }
      scores[pieces.size()] = score;
      pieces.add(new String(bytes, StandardCharsets.UTF_8));
    }
    if (pieces.size() < SPECIAL) {
      throw new UserError(
          file
              + ": not a llama2.c tokenizer: "
              + pieces.size()
              + " pieces, expected at least "
              + SPECIAL);
    }
    return new Llama2cTokenizer(pieces, scores, CacheKey.hex(in.array()));
  }

  @Override
  public int vocabSize() {
    return pieces.size();
  }

  @Override
  public int bosId() {
    return BOS;
  }

  @Override
  public int eosId() {
    return EOS;
  }

  @Override
  public int padId() {
    return NONE;
  }

  @Override
  public boolean addsBos() {
    return true;
  }

  /**
   * By the piece's text; also {@code <s>} and {@code </s>}, which the file spells with line feeds
   * around.
   */
  @Override
  public OptionalInt id(String piece) {
    if (piece.equals("<s>")) {
      return OptionalInt.of(BOS);
    }
    if (piece.equals("</s>")) {
      return OptionalInt.of(EOS);
    }
    Integer id = ids.get(piece);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public Optional<String> identity() {
    return Optional.of("llama2.c " + hash);
  }

  @Override
  public int[] encode(String text) {
    return text.isEmpty() ? new int[0] : merge(characters(" " + text));
  }

  @Override
  public int[] encodeContinuation(String text) {
    return merge(characters(text));
  }

  @Override
  public String decode(int[] tokens) {
    PieceDecoder text = new PieceDecoder();
    boolean atBeginning = true;
    for (int id : tokens) {
      if (id < 0 || id >= pieces.size()) {
        throw new IllegalArgumentException(
            "token id " + id + " of a vocabulary of " + pieces.size());
      }
      if (id == BOS || id == EOS) {
        continue;
      }
      String piece = pieces.get(id);
      if (id >= FIRST_BYTE && id < SPECIAL) {
        text.raw(id - FIRST_BYTE);
      } else {
        text.text(atBeginning && piece.startsWith(" ") ? piece.substring(1) : piece);
      }
      atBeginning = false;
    }
    return text.toString();
  }

  @Override
  public void close() {}

  private void addJoins(String piece, int id) {
    for (int cut = 1; cut < piece.length(); cut++) {
      Integer left = ids.get(piece.substring(0, cut));
      Integer right = ids.get(piece.substring(cut));
      if (left != null && right != null) {
        joined.put(pair(left, right), id);
      }
    }
  }

  private static long pair(int left, int right) {
    return (long) left << 32 | right;
  }

  private int[] characters(String text) {
    int[] tokens = new int[text.getBytes(StandardCharsets.UTF_8).length];
    int count = 0;
    for (int i = 0; i < text.length(); ) {
      int codePoint = text.codePointAt(i);
      String character = Character.toString(codePoint);
      Integer id = ids.get(character);
      if (id != null) {
        tokens[count++] = id;
      } else {
        for (byte b : character.getBytes(StandardCharsets.UTF_8)) {
          tokens[count++] = FIRST_BYTE + (b & 0xFF);
        }
      }
      i += Character.charCount(codePoint);
    }
    return Arrays.copyOf(tokens, count);
  }

  /** Two neighbours that could be joined; stale when either has changed since. */
  private record Join(float score, int left, int right, int leftId, int rightId, int id)
      implements Comparable<Join> {
    @Override
    public int compareTo(Join other) {
      int byScore = Float.compare(other.score, score);
      return byScore != 0 ? byScore : Integer.compare(left, other.left);
    }
  }

  /** Joins neighbours, best first, over a linked list of what is left: n log n for n characters. */
  private int[] merge(int[] tokens) {
    int n = tokens.length;
    int[] next = new int[n];
    int[] previous = new int[n];
    PriorityQueue<Join> joins = new PriorityQueue<>();
    for (int i = 0; i < n; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      offer(joins, tokens, i, i + 1);
    }
    while (!joins.isEmpty()) {
      Join join = joins.poll();
      boolean stale =
          tokens[join.left] != join.leftId
              || next[join.left] != join.right
              || tokens[join.right] != join.rightId;
      if (stale) {
        continue;
      }
      tokens[join.left] = join.id;
      tokens[join.right] = NONE;
      int after = next[join.right];
      next[join.left] = after;
      if (after < n) {
        previous[after] = join.left;
      }
      offer(joins, tokens, previous[join.left], join.left);
      offer(joins, tokens, join.left, after);
    }
    int count = 0;
    for (int i = 0; i < n; i = next[i]) {
      tokens[count++] = tokens[i];
    }
    return Arrays.copyOf(tokens, count);
  }

  private void offer(PriorityQueue<Join> joins, int[] tokens, int left, int right) {
    if (left < 0 || right >= tokens.length) {
      return;
    }
    Integer id = joined.get(pair(tokens[left], tokens[right]));
    if (id != null) {
      joins.add(new Join(scores[id], left, right, tokens[left], tokens[right], id));
    }
  }
}
