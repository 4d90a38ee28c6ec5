package dev.caravan.parallel;

/** A rank that cannot go on because another one failed, left, or did something else. */
public final class RankFailure extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A failure that names the rank, the exchange and the step. */
  public RankFailure(String message) {
    super(message);
  }

  /** The same, with what happened on the rank that failed. */
  public RankFailure(String message, Throwable cause) {
    super(message, cause);
  }
}
