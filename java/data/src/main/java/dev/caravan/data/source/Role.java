package dev.caravan.data.source;

/** Who speaks in a conversation. */
public enum Role {
  /** Sets the stage. */
  SYSTEM,
  /** Asks. */
  USER,
  /** Answers; what is learnt. */
  ASSISTANT,
  /** Returns the result of a call that the assistant made. */
  TOOL
}
