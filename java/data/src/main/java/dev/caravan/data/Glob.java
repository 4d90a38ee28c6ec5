package dev.caravan.data;

import java.nio.file.FileSystems;
import java.nio.file.PathMatcher;
import java.util.regex.PatternSyntaxException;

/** Names with wildcards: {@code *}, {@code **}, {@code ?}, {@code {a,b}}, {@code [ab]}. */
public final class Glob {
  private Glob() {}

  /**
   * What matches a glob.
   *
   * @param where names it in errors
   * @throws UserError if it is none, as with a bracket that is not closed
   */
  public static PathMatcher of(String glob, String where) {
    try {
      return FileSystems.getDefault().getPathMatcher("glob:" + glob);
    } catch (PatternSyntaxException e) {
      throw new UserError(where + ": '" + glob + "' is not a valid glob: " + e.getDescription(), e);
    }
  }
}
