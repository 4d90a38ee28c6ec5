package dev.caravan.data;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import org.junit.jupiter.api.Assumptions;

/**
 * Where tests find data: small files of their own, and a folder of public data sets that may be
 * absent.
 */
public final class TestData {
  private static final Path PUBLIC = findPublic();

  private TestData() {}

  /**
   * A file or folder of the public data sets: the folder that the environment variable
   * CARAVAN_TEST_DATA names, else shared/data beside the checkout. Where it is absent the calling
   * test is skipped, and says so.
   */
  public static Path publicData(String path) {
    Path file = PUBLIC == null ? null : PUBLIC.resolve(path);
    boolean there = file != null && Files.exists(file);
    if (!there) {
      System.err.println(
          "SKIPPED: a test that reads "
              + path
              + " of the public data sets; set CARAVAN_TEST_DATA to their folder");
    }
    Assumptions.assumeTrue(there, "public data sets are absent: " + path);
    return file;
  }

  /**
   * Copies resources of the tests to {@code folder}, since tokenizers are opened from files.
   * Returns the first copy.
   */
  public static Path copy(Path folder, String... resources) {
    Path first = null;
    for (String resource : resources) {
      Path to = folder.resolve(resource.substring(resource.lastIndexOf('/') + 1));
      try (InputStream in = TestData.class.getResourceAsStream(resource)) {
        if (in == null) {
          throw new IllegalArgumentException("no test resource " + resource);
        }
        Files.copy(in, to, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      first = first == null ? to : first;
    }
    return first;
  }

  private static Path findPublic() {
    String named = System.getenv("CARAVAN_TEST_DATA");
    if (named != null && !named.isEmpty()) {
      return Path.of(named);
    }
    for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
      if (Files.exists(folder.resolve(".git")) && folder.getParent() != null) {
        Path beside = folder.getParent().resolve("shared/data");
        return Files.isDirectory(beside) ? beside : null;
      }
    }
    return null;
  }
}
