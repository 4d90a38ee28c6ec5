package dev.caravan.data;

/**
 * A failure that the user caused and can mend: bad input, a bad setting, a missing file. The
 * message is the one clear line that is shown (what is wrong, where, what to do); the command line
 * maps it to exit code 2 and prints no stack trace.
 */
public final class UserError extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * @param message one line: what, where, what to do
   */
  public UserError(String message) {
    super(message);
  }

  /**
   * @param message one line: what, where, what to do
   * @param cause what the library below reported; kept for debugging, never shown
   */
  public UserError(String message, Throwable cause) {
    super(message, cause);
  }

  /**
   * An error in a line of a file, as {@code FILE:LINE: what is wrong}.
   *
   * @param file the file as the user named it
   * @param line the line, counted from 1
   * @param what what is wrong and what is expected
   */
  public static UserError at(Object file, long line, String what) {
    return new UserError(file + ":" + line + ": " + what);
  }
}
