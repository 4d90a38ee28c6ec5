package dev.caravan.train;

import dev.caravan.data.cache.CacheFolder;
import java.nio.file.Path;
import java.util.function.Consumer;

/** Where a run keeps its tokens between runs. */
final class RunCache {
  private RunCache() {}

  /**
   * The folder that {@code data.cache} names.
   *
   * @param notes told once, in a line, why nothing more is kept
   */
  static CacheFolder of(RunConfig config, Consumer<String> notes) {
    String named = config.data().cache();
    CacheFolder folder =
        switch (named) {
          case RunConfig.Data.CACHE_NONE -> CacheFolder.none();
          case RunConfig.Data.CACHE_AUTO ->
              CacheFolder.at(
                  CacheFolder.usual(System.getenv(), System.getProperty("user.home")),
                  CacheFolder.WORTHWHILE_BYTES,
                  notes);
          default -> CacheFolder.at(Path.of(named), 0, notes);
        };
    return folder == CacheFolder.none() ? folder : folder.apart(Doctor.droppedBy(config));
  }
}
