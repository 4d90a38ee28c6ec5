package dev.caravan.train;

import dev.caravan.checkpoint.Checkpoints;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The folder of a run: config.yaml, metrics.jsonl, event files and checkpoints/. Held by a lock
 * while it is open, so that two processes never write one run.
 */
public final class RunFolder implements AutoCloseable {
  private static final String CONFIG = "config.yaml";
  private static final String METRICS = "metrics.jsonl";
  private static final String CHECKPOINTS = "checkpoints";
  private static final String LOCK = ".lock";
  private static final Set<String> OURS = Set.of(CONFIG, METRICS, CHECKPOINTS, RunMixture.FILE);
  private static final String EVENTS = "events.out.tfevents.";

  private final Path path;
  private final boolean made;
  private final FileChannel lock;
  private final Checkpoints checkpoints;
  private final Optional<SavedCheckpoint> resumed;

  private RunFolder(
      Path path, boolean made, FileChannel lock, RunConfig config, TrainingRun.Loss loss) {
    this.path = path;
    this.made = made;
    this.lock = lock;
    this.checkpoints = new Checkpoints(path.resolve(CHECKPOINTS));
    this.resumed = begin(config, loss);
  }

  /**
   * Opens the run's output folder for training, as {@code checkpoint.resume} says: goes on from its
   * last complete checkpoint, starts afresh in place of what is there, or goes on from a checkpoint
   * that is named. Writes config.yaml.
   *
   * @param loss which tokens the run learns
   * @throws UserError if it holds a run with another configuration, naming the first key that
   *     differs; if another process trains in it; if it cannot be written
   */
  public static RunFolder open(RunConfig config, TrainingRun.Loss loss) {
    Path path = config.output();
    inspect(config, loss);
    boolean made = !Files.exists(path);
    FileChannel lock = null;
    try {
      Files.createDirectories(path);
      lock =
          FileChannel.open(path.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      if (!acquire(lock)) {
        throw new UserError(path + ": another process is training in this folder");
      }
      return new RunFolder(path, made, lock, config, loss);
    } catch (IOException e) {
      close(lock);
      throw DurableFiles.cannotWrite(path, e);
    } catch (RuntimeException e) {
      close(lock);
      throw e;
    }
  }

  /** Opens the folder of a run whose loss is on the targets. */
  public static RunFolder open(RunConfig config) {
    return open(config, TrainingRun.Loss.TARGETS);
  }

  private static boolean acquire(FileChannel channel) throws IOException {
    try {
      FileLock lock = channel.tryLock();
      return lock != null;
    } catch (OverlappingFileLockException e) {
      return false;
    }
  }

  /**
   * Where a run would go on from, found without writing anything.
   *
   * @param loss which tokens the run learns
   * @return the checkpoint; empty for a fresh start
   * @throws UserError if the output folder holds a run with another configuration, naming the first
   *     key that differs; if a checkpoint that is named is not one
   */
  public static Optional<SavedCheckpoint> inspect(RunConfig config, TrainingRun.Loss loss) {
    if (config.checkpoint().resume() == RunConfig.Resume.NEVER) {
      return Optional.empty();
    }
    Path path = config.output();
    if (Files.exists(path.resolve(CONFIG))) {
      difference(config, loss, path.resolve(CONFIG))
          .ifPresent(
              difference -> {
                throw new UserError(
                    path
                        + ": holds another run: "
                        + difference
                        + "; choose another output, or replace it with checkpoint.resume=never");
              });
    }
    if (config.checkpoint().from().isPresent()) {
      return config.checkpoint().from().map(SavedCheckpoint::open);
    }
    return new Checkpoints(path.resolve(CHECKPOINTS)).latest();
  }

  private static Optional<String> difference(RunConfig now, TrainingRun.Loss loss, Path file) {
    try {
      Optional<String> key = RunConfigWriter.difference(now, RunFile.read(file, List.of()));
      boolean sameLoss = Files.readString(file).startsWith(firstLine(loss));
      return key.isEmpty() && !sameLoss ? Optional.of("its loss is not on " + words(loss)) : key;
    } catch (UserError | IOException e) {
      throw new UserError(
          file
              + ": cannot be compared with this run: "
              + e.getMessage()
              + "; choose another output",
          e);
    }
  }

  /** The verb decides which tokens are learnt; a comment keeps it beside the run file's keys. */
  private static String firstLine(TrainingRun.Loss loss) {
    return "# loss on " + words(loss) + "\n";
  }

  private static String words(TrainingRun.Loss loss) {
    return loss == TrainingRun.Loss.EVERY_TOKEN ? "every token" : "the targets";
  }

  private Optional<SavedCheckpoint> begin(RunConfig config, TrainingRun.Loss loss) {
    if (config.checkpoint().resume() == RunConfig.Resume.NEVER) {
      removeRun();
    }
    checkpoints.recover();
    Optional<SavedCheckpoint> from = inspect(config, loss);
    String yaml = firstLine(loss) + RunConfigWriter.toYaml(config);
    DurableFiles.replace(path.resolve(CONFIG), yaml.getBytes(StandardCharsets.UTF_8));
    if (config.checkpoint().resume() == RunConfig.Resume.FOLDER) {
      checkpoints.discardAfter(from.orElseThrow().state().step());
    }
    return from;
  }

  /** Removes what a run writes and nothing else. */
  private void removeRun() {
    try (Stream<Path> entries = Files.list(path)) {
      for (Path entry : entries.toList()) {
        String name = entry.getFileName().toString();
        if (OURS.contains(name) || name.startsWith(EVENTS)) {
          DurableFiles.deleteTree(entry);
        }
      }
    } catch (IOException e) {
      throw new UserError(path + ": cannot be replaced: " + e.getMessage(), e);
    }
  }

  /** The folder. */
  public Path path() {
    return path;
  }

  /** The file of the metrics. */
  public Path metrics() {
    return path.resolve(METRICS);
  }

  /** The checkpoints of a run, for a rank that does not hold its folder. */
  static Checkpoints checkpoints(RunConfig config) {
    return new Checkpoints(config.output().resolve(CHECKPOINTS));
  }

  /** The run's checkpoints. */
  public Checkpoints checkpoints() {
    return checkpoints;
  }

  /** The checkpoint that the run goes on from; empty for a fresh start. */
  public Optional<SavedCheckpoint> resumed() {
    return resumed;
  }

  /** Optimizer steps that are already done. */
  public int resumedStep() {
    return resumed.map(checkpoint -> checkpoint.state().step()).orElse(0);
  }

  /**
   * Takes back what opening it has written, where the folder was not there before: for a run whose
   * first step shows that its input is wrong. Files of others stay.
   */
  void withdraw() {
    if (!made) {
      return;
    }
    removeRun();
    try {
      Files.deleteIfExists(path.resolve(LOCK));
      Files.delete(path);
    } catch (IOException e) {
      // What others have put there meanwhile keeps it.
    }
  }

  /** Lets other processes in. */
  @Override
  public void close() {
    close(lock);
  }

  private static void close(FileChannel lock) {
    if (lock == null) {
      return;
    }
    try {
      lock.close();
    } catch (IOException e) {
      // The lock ends with the process at the latest.
    }
  }
}
