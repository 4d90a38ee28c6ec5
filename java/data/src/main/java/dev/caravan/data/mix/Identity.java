package dev.caravan.data.mix;

import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.source.DataFiles;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;

/** Hashes by which a mixture, or the data of a task, is told from others. */
final class Identity {
  private Identity() {}

  /** Of everything that decides which tokens example k has, but the tokenizer and the limits. */
  static String of(
      MixtureSpec spec,
      List<TaskSpec> tasks,
      long[] sizes,
      double[] rates,
      long seed,
      boolean shuffle,
      CacheFolder cache) {
    MessageDigest digest = digest();
    put(digest, spec.root() + " " + spec.badRows() + " " + seed + " " + shuffle);
    spec.mixes().values().forEach(mix -> put(digest, mix.toString()));
    List<byte[]> hashes = tasks.parallelStream().map(task -> ofData(task, cache)).toList();
    for (int t = 0; t < tasks.size(); t++) {
      put(digest, tasks.get(t).name() + " " + sizes[t] + " " + tasks.get(t).words());
      put(digest, Double.toHexString(rates[t]));
      digest.update(hashes.get(t));
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  /** Of the content of a task's files and of how they are read. */
  static byte[] ofData(TaskSpec task, CacheFolder cache) {
    MessageDigest digest = digest();
    put(digest, task.format() + " " + new TreeMap<>(task.fields()) + " " + task.rows());
    for (Path file : DataFiles.resolve(task.paths())) {
      digest.update(cache.content(file));
    }
    return digest.digest();
  }

  static MessageDigest digest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  /** Takes a text with its length, so that texts cannot run into each other. */
  static void put(MessageDigest digest, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    for (int shift = 24; shift >= 0; shift -= 8) {
      digest.update((byte) (bytes.length >>> shift));
    }
    digest.update(bytes);
  }
}
