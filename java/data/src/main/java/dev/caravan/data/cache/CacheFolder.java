package dev.caravan.data.cache;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.time.Instant;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * A folder of cached files, shared by the threads of a process, by processes and by later runs. It
 * is never in the way: what it cannot read is made anew, and what it cannot write is told once and
 * then left, so that callers go on without it. Safe for several threads.
 */
public final class CacheFolder {
  /** Below this size of the source, making is as quick as finding. */
  public static final long WORTHWHILE_BYTES = 4L << 20;

  /** So much of a disk stays free of cached files, for checkpoints. */
  private static final long RESERVE_BYTES = 256L << 20;

  /** A file that nobody has used for so long is removed. */
  private static final Duration KEPT = Duration.ofDays(30);

  private static final Duration UNFINISHED_KEPT = Duration.ofDays(1);

  /** Below the folder of a kind: a cached file, its lock, or an unfinished one. */
  private static final Pattern OURS =
      Pattern.compile(
          "[0-9a-f]{2}/[0-9a-f]{62}(\\.lock|[.0-9a-z]*"
              + Pattern.quote(CacheWriter.UNFINISHED)
              + ")?");

  /** Hashes of the files that others were made from. */
  private static final String SOURCES = "sources";

  private static final CacheFolder NONE = new CacheFolder(null, 0, note -> {});

  /** Locks of files are between processes; these are between threads. */
  private static final Map<Path, Object> MAKING = new ConcurrentHashMap<>();

  private final Path folder;
  private final long leastSource;
  private final Consumer<String> notes;
  private final CacheWriter.Opener opener;
  private final String part;
  private final State state;

  /** What a folder and its parts share; guarded by itself. */
  private static final class State {
    final Set<String> cleaned = new HashSet<>(); // kinds
    boolean isGivenUp; // nothing more is written
  }

  /** Makes the content of a file. */
  @FunctionalInterface
  public interface Maker {
    void make(CacheWriter into);
  }

  private CacheFolder(Path folder, long leastSource, Consumer<String> notes) {
    this(folder, leastSource, notes, CacheWriter.Opener.FILES);
  }

  CacheFolder(Path folder, long leastSource, Consumer<String> notes, CacheWriter.Opener opener) {
    this(folder, leastSource, notes, opener, "", new State());
  }

  private CacheFolder(
      Path folder,
      long leastSource,
      Consumer<String> notes,
      CacheWriter.Opener opener,
      String part,
      State state) {
    this.folder = folder;
    this.leastSource = leastSource;
    this.notes = notes;
    this.opener = opener;
    this.part = part;
    this.state = state;
  }

  /** No cache: nothing is found and nothing kept. */
  public static CacheFolder none() {
    return NONE;
  }

  /**
   * A folder, made when something is first kept.
   *
   * @param leastSource smaller sources are not {@linkplain #isWorthwhile worth} it, in bytes
   * @param notes told once, in a line, why nothing more is kept
   */
  public static CacheFolder at(Path folder, long leastSource, Consumer<String> notes) {
    return new CacheFolder(folder.toAbsolutePath(), leastSource, notes);
  }

  /**
   * The user's cache folder: what the environment variable CARAVAN_CACHE names, else caravan in
   * XDG_CACHE_HOME, else in ~/.cache.
   */
  public static Path usual(Map<String, String> environment, String home) {
    String named = environment.getOrDefault("CARAVAN_CACHE", "");
    if (!named.isEmpty()) {
      return Path.of(named);
    }
    String shared = environment.getOrDefault("XDG_CACHE_HOME", "");
    // The specification has relative paths ignored.
    Path base = shared.startsWith("/") ? Path.of(shared) : Path.of(home, ".cache");
    return base.resolve("caravan");
  }

  /**
   * The same folder with keys of its own: for content that depends on something that its makers do
   * not know.
   *
   * @param other tells it; "" for nothing
   */
  public CacheFolder apart(String other) {
    return folder == null
        ? this
        : new CacheFolder(folder, leastSource, notes, opener, part + "/" + other, state);
  }

  /** Whether what is made from so many bytes should be kept here. */
  public boolean isWorthwhile(long sourceBytes) {
    return folder != null && sourceBytes >= leastSource;
  }

  /**
   * Finds a file.
   *
   * @param kind a folder of its own
   * @param key everything that its content depends on, [32]
   * @param entryBytes of an index entry
   */
  public Optional<CacheFile> find(String kind, byte[] key, int entryBytes) {
    if (folder == null) {
      return Optional.empty();
    }
    Path place = place(kind, key);
    Optional<CacheFile> found = CacheFile.open(place, own(key), entryBytes);
    if (found.isPresent()) {
      touch(place);
    }
    return found;
  }

  /**
   * Finds a file, or makes it. Of several that want the same, one makes it and the others wait.
   *
   * @return empty where it cannot be kept; what the maker throws itself comes through
   */
  public Optional<CacheFile> findOrMake(String kind, byte[] key, int entryBytes, Maker maker) {
    Optional<CacheFile> found = find(kind, key, entryBytes);
    if (found.isPresent() || isGivenUp()) {
      return found;
    }
    Path place = place(kind, key);
    synchronized (MAKING.computeIfAbsent(place, p -> new Object())) {
      try {
        Files.createDirectories(place.getParent());
      } catch (IOException e) {
        giveUp(e);
        return Optional.empty();
      }
      try (FileChannel channel = lockFile(place);
          FileLock lock = lock(channel)) {
        Optional<CacheFile> meanwhile = find(kind, key, entryBytes);
        if (meanwhile.isPresent() || !keep(kind, key, entryBytes, maker, true)) {
          return meanwhile;
        }
        return CacheFile.open(place, own(key), entryBytes);
      } catch (IOException e) {
        giveUp(e);
        return Optional.empty();
      }
    }
  }

  /**
   * Keeps one of many small files without waiting for anybody, the disk included: who renames last
   * has replaced equal content. A machine that loses its power may leave it broken; it is then made
   * again.
   *
   * @return whether it is there
   */
  public boolean keep(String kind, byte[] key, int entryBytes, Maker maker) {
    return keep(kind, key, entryBytes, maker, false);
  }

  private boolean keep(String kind, byte[] key, int entryBytes, Maker maker, boolean durable) {
    if (isGivenUp()) {
      return false;
    }
    Path place = place(kind, key);
    try {
      Files.createDirectories(place.getParent());
      clean(kind);
      long free = Files.getFileStore(place.getParent()).getUsableSpace();
      if (free < RESERVE_BYTES) {
        throw new IOException(
            "only %d MiB are free, and %d MiB must stay"
                .formatted(free >> 20, RESERVE_BYTES >> 20));
      }
      try (CacheWriter writer = new CacheWriter(place, own(key), entryBytes, opener)) {
        maker.make(writer);
        writer.finish(durable);
      }
      return true;
    } catch (UncheckedIOException e) {
      giveUp(e.getCause());
    } catch (IOException e) {
      giveUp(e);
    }
    return false;
  }

  /**
   * SHA-256 of the content of a file, [32]. It is kept beside what the file system says of the
   * file, so that only what has changed is read again; see {@link ContentHash}.
   *
   * @throws UserError if it cannot be read
   */
  public byte[] content(Path file) {
    if (isGivenUp()) {
      return ContentHash.read(file);
    }
    Path place =
        place(SOURCES, new CacheKey(SOURCES).put(file.toAbsolutePath().toString()).bytes());
    try {
      Files.createDirectories(place.getParent());
      clean(SOURCES);
    } catch (IOException e) {
      return ContentHash.read(file);
    }
    byte[] hash = ContentHash.of(file, place);
    touch(place);
    return hash;
  }

  private byte[] own(byte[] key) {
    return part.isEmpty() ? key : new CacheKey(part).put(key).bytes();
  }

  private Path place(String kind, byte[] key) {
    String name = HexFormat.of().formatHex(own(key));
    return folder.resolve(kind).resolve(name.substring(0, 2)).resolve(name.substring(2));
  }

  private static FileChannel lockFile(Path place) throws IOException {
    return FileChannel.open(
        place.resolveSibling(place.getFileName() + ".lock"),
        StandardOpenOption.WRITE,
        StandardOpenOption.CREATE);
  }

  /** Null on a file system without locks, where two may make the same: the last one stays. */
  private static FileLock lock(FileChannel channel) {
    try {
      return channel.lock();
    } catch (IOException e) {
      return null;
    }
  }

  private boolean isGivenUp() {
    synchronized (state) {
      return folder == null || state.isGivenUp;
    }
  }

  private void giveUp(IOException e) {
    synchronized (state) {
      if (state.isGivenUp) {
        return;
      }
      state.isGivenUp = true;
    }
    notes.accept(
        "cache %s: %s; going on without it (data.cache names another folder)"
            .formatted(folder, reason(e)));
  }

  /** Why, in words: some exceptions of files say the path alone. */
  private static String reason(IOException e) {
    if (e instanceof AccessDeniedException) {
      return "permission denied";
    }
    if (e instanceof FileSystemException error) {
      return error.getReason() == null ? "cannot be made" : error.getReason();
    }
    return e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
  }

  /** Marks a file as used, at most once a day. */
  private static void touch(Path place) {
    try {
      Instant now = Instant.now();
      if (Files.getLastModifiedTime(place).toInstant().isBefore(now.minus(UNFINISHED_KEPT))) {
        Files.setLastModifiedTime(place, java.nio.file.attribute.FileTime.from(now));
      }
    } catch (IOException e) {
      // A folder that may only be read serves as well.
    }
  }

  /**
   * Removes what is old, and nothing that is not named as this class names files: the folder may be
   * any, with other things in it.
   */
  private void clean(String kind) throws IOException {
    synchronized (state) {
      if (!state.cleaned.add(kind)) {
        return;
      }
    }
    Instant now = Instant.now();
    try (var files = Files.walk(folder.resolve(kind), 2)) {
      files
          .filter(file -> OURS.matcher(folder.resolve(kind).relativize(file).toString()).matches())
          .filter(Files::isRegularFile)
          .filter(file -> isStale(file, now))
          .forEach(CacheFolder::delete);
    } catch (UncheckedIOException e) {
      // Somebody else is cleaning.
    }
  }

  private static boolean isStale(Path file, Instant now) {
    Duration kept = file.toString().endsWith(CacheWriter.UNFINISHED) ? UNFINISHED_KEPT : KEPT;
    try {
      return Files.getLastModifiedTime(file).toInstant().isBefore(now.minus(kept));
    } catch (IOException e) {
      return false;
    }
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      // It stays until somebody may remove it.
    }
  }
}
