package dev.caravan.data.mix;

import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.cache.CacheKey;
import dev.caravan.data.cache.TokenRows;
import java.util.Optional;

/**
 * The windows of one mixture on disk, a file each: whoever makes one first keeps it for all, and
 * nobody waits for another.
 *
 * @param folder where
 * @param identity of mixture, tokenizer and limits; null where nothing is kept
 */
record BlockCache(CacheFolder folder, String identity) {
  private static final String KIND = "windows";

  /** Nothing is found and nothing kept. */
  static BlockCache none() {
    return new BlockCache(CacheFolder.none(), null);
  }

  Optional<Block> find(int window, int size) {
    return identity == null
        ? Optional.empty()
        : folder
            .find(KIND, key(window), TokenRows.ENTRY_BYTES)
            .flatMap(file -> StoredBlock.of(new TokenRows(file), size));
  }

  /** Keeps a window; returns it as it can be read from now on. */
  Block keep(int window, Block made) {
    if (identity == null
        || !folder.keep(
            KIND, key(window), TokenRows.ENTRY_BYTES, out -> StoredBlock.write(made, out))) {
      return made;
    }
    return find(window, made.size()).orElse(made);
  }

  private byte[] key(int window) {
    return new CacheKey(KIND).put(identity).put(window).bytes();
  }
}
