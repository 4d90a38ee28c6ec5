package dev.caravan.data.tokenize;

import java.util.Arrays;

/**
 * Turns tokens that arrive one by one into text, each character once and as soon as it is whole: a
 * character whose bytes are spread over several tokens comes with the last of them, and the space
 * that a tokenizer leaves out at the start of a text is there, because decoding always begins some
 * tokens earlier.
 */
public final class DecodeStream {
  private static final char REPLACEMENT = '\uFFFD';
  private static final int CONTEXT = 8;

  private final Tokenizer tokenizer;
  private int[] ids;
  private int count;
  private int emitted;
  private int contextStart;

  DecodeStream(Tokenizer tokenizer, int[] prompt) {
    this.tokenizer = tokenizer;
    ids = Arrays.copyOf(prompt, prompt.length + 64);
    count = prompt.length;
    emitted = count;
    contextStart = Math.max(0, count - CONTEXT);
  }

  /**
   * Takes the next token and returns the text that it completes; empty while a character is
   * unfinished.
   */
  public String add(int id) {
    if (count == ids.length) {
      ids = Arrays.copyOf(ids, 2 * count);
    }
    ids[count++] = id;
    String text = pending();
    if (text.isEmpty() || text.charAt(text.length() - 1) == REPLACEMENT) {
      return "";
    }
    advance();
    return text;
  }

  /** The text still held back, with U+FFFD for bytes that never became a character. */
  public String flush() {
    String text = pending();
    advance();
    return text;
  }

  private void advance() {
    contextStart = Math.max(0, emitted - CONTEXT);
    emitted = count;
  }

  /** What the tokens since the last emitted one add to the text of the context before them. */
  private String pending() {
    String before = tokenizer.decode(Arrays.copyOfRange(ids, contextStart, emitted));
    String all = tokenizer.decode(Arrays.copyOfRange(ids, contextStart, count));
    return all.length() <= before.length() ? "" : all.substring(before.length());
  }
}
