package dev.caravan.train;

import java.nio.file.Path;

/**
 * The folder that relative paths of a user are relative to: the one that the launcher was called
 * from, which it passes on as the system property {@code caravan.cwd}, else the process's own.
 */
public final class Cwd {
  private Cwd() {}

  /** That folder, absolute. */
  public static Path folder() {
    return Path.of(System.getProperty("caravan.cwd", System.getProperty("user.dir")));
  }

  /** The absolute form of a path that a user wrote. */
  public static Path resolve(String path) {
    return folder().resolve(path).normalize();
  }

  /** The absolute form of a path that may hold the wildcards of a glob. */
  public static String resolvePattern(String pattern) {
    return pattern.startsWith("/") ? pattern : folder() + "/" + pattern;
  }
}
