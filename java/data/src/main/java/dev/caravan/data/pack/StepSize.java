package dev.caravan.data.pack;

/** How many consecutive examples make one optimizer step. */
public sealed interface StepSize {
  /** {@code count} examples, so step s (from 0) begins at example s x count. */
  record Examples(int count) implements StepSize {
    public Examples {
      if (count < 1) {
        throw new IllegalArgumentException("examples per step must be at least 1, got " + count);
      }
    }
  }

  /**
   * As many consecutive examples as have at most {@code count} tokens together, over all ranks and
   * without padding. Where a step begins depends on the lengths before it, so a resumed run carries
   * the first example of its next step.
   */
  record Tokens(long count) implements StepSize {
    public Tokens {
      if (count < 1) {
        throw new IllegalArgumentException("tokens per step must be at least 1, got " + count);
      }
    }
  }

  /** {@code count} examples a step. */
  static StepSize examples(int count) {
    return new Examples(count);
  }

  /** At most {@code count} input tokens a step. */
  static StepSize tokens(long count) {
    return new Tokens(count);
  }
}
