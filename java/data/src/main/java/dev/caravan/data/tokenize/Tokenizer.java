package dev.caravan.data.tokenize;

import java.util.Optional;
import java.util.OptionalInt;

/**
 * Text to token ids and back. Implementations are safe for several threads.
 *
 * <p>A sequence is encoded in pieces whose borders are known (prompt, response), so there are two
 * ways to encode: {@link #encode} for text at the start of a sequence, and {@link
 * #encodeContinuation} for text that follows other text. They differ where a tokenizer marks the
 * start with a space that is not in the text; so decoding the pieces together gives the texts
 * together. Neither adds special tokens by itself; {@link #bosId} and {@link #eosId} are put where
 * the structure wants them.
 */
public interface Tokenizer extends AutoCloseable {
  /** What {@link #bosId} and its like return when there is no such token. */
  int NONE = -1;

  /** One more than the largest token id. */
  int vocabSize();

  /** The beginning-of-sequence token, or {@link #NONE}. */
  int bosId();

  /** The end-of-sequence token, or {@link #NONE}. */
  int eosId();

  /** The padding token, or {@link #NONE}. */
  int padId();

  /** Whether sequences of this tokenizer's models begin with {@link #bosId}. */
  boolean addsBos();

  /**
   * The tokens at which generation stops: {@link #eosId}, and what the model's folder names
   * besides.
   */
  default int[] stopIds() {
    return eosId() == NONE ? new int[0] : new int[] {eosId()};
  }

  /** The chat template that the tokenizer's folder brings along, in Jinja; empty if it has none. */
  default Optional<String> chatTemplate() {
    return Optional.empty();
  }

  /**
   * A text that differs between tokenizers that make other tokens of some text, put other tokens
   * around it, or bring along another chat template; empty where that is not known, and then
   * nothing of it is cached.
   */
  default Optional<String> identity() {
    return Optional.empty();
  }

  /** The id of a token by its exact name, special tokens included. */
  OptionalInt id(String piece);

  /** Token ids of {@code text} at the start of a sequence, without special tokens. */
  int[] encode(String text);

  /**
   * Token ids of {@code text} that follows other text in the same sequence, without special tokens.
   */
  int[] encodeContinuation(String text);

  /**
   * Token ids of {@code text} at the start of a sequence.
   *
   * @param addBos whether {@link #bosId} comes first; nothing is added where there is none
   */
  default int[] encode(String text, boolean addBos) {
    int[] ids = encode(text);
    if (!addBos || bosId() == NONE) {
      return ids;
    }
    int[] withBos = new int[ids.length + 1];
    withBos[0] = bosId();
    System.arraycopy(ids, 0, withBos, 1, ids.length);
    return withBos;
  }

  /**
   * The text of {@code ids}, without special tokens. Bytes that are not UTF-8 come out as U+FFFD.
   *
   * @throws IllegalArgumentException if an id is outside the vocabulary
   */
  String decode(int[] ids);

  /** Decodes the tokens that follow {@code prompt} one at a time. */
  default DecodeStream decodeStream(int[] prompt) {
    return new DecodeStream(this, prompt);
  }

  /** Frees what the tokenizer holds outside the Java heap. */
  @Override
  void close();
}
