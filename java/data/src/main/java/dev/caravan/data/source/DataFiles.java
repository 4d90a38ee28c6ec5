package dev.caravan.data.source;

import dev.caravan.data.Glob;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.PathMatcher;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/** The files that a data path means: a file, a folder, a glob, or a list of these. */
public final class DataFiles {
  private static final Set<String> ENDINGS =
      Set.of("jsonl", "ndjson", "json", "csv", "tsv", "txt", "parquet");

  private DataFiles() {}

  /**
   * The files named, folders and globs in sorted order of their paths and the list's entries in the
   * list's order. A folder means the data files directly and at any depth below it whose names have
   * a known ending and do not begin with a dot; a glob ({@code *}, {@code **}, {@code ?}, {@code
   * {a,b}}, {@code [ab]}) means the files that match.
   *
   * @param paths relative ones are relative to the current directory
   * @throws UserError if a path names nothing
   */
  public static List<Path> resolve(Collection<String> paths) {
    if (paths.isEmpty()) {
      throw new UserError(
          "data.path names no file; expected a file, a folder, a glob or a list of them");
    }
    List<Path> files = new ArrayList<>();
    for (String path : paths) {
      files.addAll(resolve(path));
    }
    return files;
  }

  /**
   * The size of a file.
   *
   * @throws UserError if it cannot be read
   */
  public static long bytes(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * The ending of a file's name in lower case, behind a .gz that is taken off: {@code jsonl} for
   * a.jsonl and a.jsonl.gz; empty if there is none.
   */
  public static String ending(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (name.endsWith(".gz")) {
      name = name.substring(0, name.length() - 3);
    }
    int dot = name.lastIndexOf('.');
    return dot < 0 ? "" : name.substring(dot + 1);
  }

  private static Collection<Path> resolve(String text) {
    Path path = null;
    try {
      path = Path.of(text);
    } catch (InvalidPathException e) {
      throw new UserError("data path '" + text + "' is not a path: " + e.getReason(), e);
    }
    if (Files.isDirectory(path)) {
      return inFolder(path);
    }
    if (Files.exists(path)) {
      return List.of(path);
    }
    if (!isGlob(text)) {
      throw new UserError(text + ": no such file or folder");
    }
    return matching(text);
  }

  private static Collection<Path> inFolder(Path folder) {
    TreeSet<Path> found = new TreeSet<>();
    try (Stream<Path> all = Files.walk(folder, FileVisitOption.FOLLOW_LINKS)) {
      all.filter(Files::isRegularFile)
          .filter(file -> !file.getFileName().toString().startsWith("."))
          .filter(file -> ENDINGS.contains(ending(file)))
          .forEach(found::add);
    } catch (IOException | UncheckedIOException e) {
      throw new UserError(folder + ": cannot be read: " + e.getMessage(), e);
    }
    if (found.isEmpty()) {
      throw new UserError(
          folder
              + ": no data file in it; known endings: "
              + String.join(", ", new TreeSet<>(ENDINGS)));
    }
    return found;
  }

  private static Collection<Path> matching(String glob) {
    PathMatcher matcher = Glob.of(glob, "data path");
    String start = glob.substring(0, firstGlobSign(glob));
    int slash = start.lastIndexOf('/');
    Path root = slash < 0 ? Path.of("") : Path.of(start.substring(0, slash + 1));
    TreeSet<Path> found = new TreeSet<>();
    if (Files.isDirectory(root.toAbsolutePath())) {
      try (Stream<Path> all = Files.walk(root, FileVisitOption.FOLLOW_LINKS)) {
        all.filter(matcher::matches).filter(Files::isRegularFile).forEach(found::add);
      } catch (IOException | UncheckedIOException e) {
        throw new UserError(root + ": cannot be read: " + e.getMessage(), e);
      }
    }
    if (found.isEmpty()) {
      throw new UserError(glob + ": matches no file");
    }
    return found;
  }

  private static boolean isGlob(String text) {
    return firstGlobSign(text) < text.length();
  }

  private static int firstGlobSign(String text) {
    for (int i = 0; i < text.length(); i++) {
      if ("*?{[".indexOf(text.charAt(i)) >= 0) {
        return i;
      }
    }
    return text.length();
  }
}
