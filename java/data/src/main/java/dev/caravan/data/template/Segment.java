package dev.caravan.data.template;

/**
 * A part of a sequence, in order. The loss counts the tokens of segments that are targets, and no
 * others.
 */
public sealed interface Segment {
  /** Whether the loss counts this segment's tokens. */
  boolean target();

  /**
   * Words.
   *
   * @param text may be empty
   * @param target whether they are to be learnt
   */
  record Text(String text, boolean target) implements Segment {}

  /**
   * One special token by its exact name, as {@code <|im_start|>}.
   *
   * @param piece its name in the vocabulary
   * @param target whether it is to be learnt
   */
  record Token(String piece, boolean target) implements Segment {}

  /**
   * The tokenizer's beginning-of-sequence token; nothing where it has none.
   *
   * @param always false: only for tokenizers whose models begin every sequence with it
   */
  record Bos(boolean always) implements Segment {
    @Override
    public boolean target() {
      return false;
    }
  }

  /**
   * The tokenizer's end-of-sequence token.
   *
   * @param target whether it is to be learnt
   */
  record Eos(boolean target) implements Segment {}

  /** Words that are given. */
  static Segment given(String text) {
    return new Text(text, false);
  }

  /** Words that are to be learnt. */
  static Segment learnt(String text) {
    return new Text(text, true);
  }
}
