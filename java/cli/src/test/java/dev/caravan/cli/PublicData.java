package dev.caravan.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** The folder of public data sets, which may be absent. */
final class PublicData {
  private PublicData() {}

  /**
   * A file of the folder that CARAVAN_TEST_DATA names, else of shared/data beside the checkout.
   * Where it is absent the calling test is skipped, and says so.
   */
  static Path file(String path) {
    Path root = root();
    boolean there = root != null && Files.exists(root.resolve(path));
    if (!there) {
      System.err.println(
          "SKIPPED: a test that reads "
              + path
              + " of the public data sets; set CARAVAN_TEST_DATA to their folder");
    }
    Assumptions.assumeTrue(there, "public data sets are absent: " + path);
    return root.resolve(path);
  }

  private static Path root() {
    String named = System.getenv("CARAVAN_TEST_DATA");
    if (named != null && !named.isEmpty()) {
      return Path.of(named);
    }
    for (Path folder = Path.of("").toAbsolutePath(); folder != null; folder = folder.getParent()) {
      if (Files.exists(folder.resolve(".git")) && folder.getParent() != null) {
        return folder.getParent().resolve("shared/data");
      }
    }
    return null;
  }
}
