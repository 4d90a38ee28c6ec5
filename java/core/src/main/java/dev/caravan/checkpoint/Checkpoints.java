package dev.caravan.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The checkpoints of a run: folders step-N in Hugging Face layout, each with a subfolder trainer/
 * of what only a resume needs.
 *
 * <p>A checkpoint is written to step-N.tmp, flushed, and renamed; one that is removed is first
 * renamed to a .tmp name. So whatever moment the process dies at, every folder called step-N is
 * whole, and what is called .tmp is rubbish that the next start removes.
 */
public final class Checkpoints {
  private static final Pattern STEP = Pattern.compile("step-([0-9]{1,9})");
  private static final String ASIDE = ".tmp";

  private final Path folder;
  private final DurableFiles.Opener opener;

  /**
   * @param folder the folder of the checkpoints; made when the first one is saved
   */
  public Checkpoints(Path folder) {
    this(folder, DurableFiles.Opener.FILES);
  }

  Checkpoints(Path folder, DurableFiles.Opener opener) {
    this.folder = folder;
    this.opener = opener;
  }

  /** The folder of a step's checkpoint, whether it is there or not. */
  public Path path(int step) {
    return folder.resolve("step-" + step);
  }

  /**
   * Steps with a complete checkpoint, ascending. A folder that was damaged later, for example
   * copied in part, is left out.
   */
  public List<Integer> steps() {
    List<Integer> steps = new ArrayList<>();
    for (Path path : entries()) {
      Matcher name = STEP.matcher(path.getFileName().toString());
      if (name.matches() && SavedCheckpoint.problem(path).isEmpty()) {
        steps.add(Integer.valueOf(name.group(1)));
      }
    }
    Collections.sort(steps);
    return steps;
  }

  /** The complete checkpoint of the highest step. */
  public Optional<SavedCheckpoint> latest() {
    List<Integer> steps = steps();
    return steps.isEmpty()
        ? Optional.empty()
        : Optional.of(SavedCheckpoint.open(path(steps.get(steps.size() - 1))));
  }

  /**
   * Cleans up after a process that died: finishes the rename of a checkpoint that was whole,
   * removes every other .tmp folder.
   */
  public void recover() {
    for (Path path : entries()) {
      String name = path.getFileName().toString();
      if (!name.endsWith(ASIDE)) {
        continue;
      }
      Path whole = folder.resolve(name.substring(0, name.length() - ASIDE.length()));
      boolean isStep = STEP.matcher(whole.getFileName().toString()).matches();
      try {
        if (isStep && !Files.exists(whole) && SavedCheckpoint.problem(path).isEmpty()) {
          Files.move(path, whole, StandardCopyOption.ATOMIC_MOVE);
          DurableFiles.flushFolder(folder);
        } else {
          DurableFiles.deleteTree(path);
        }
      } catch (IOException e) {
        throw new UserError(path + ": cannot be removed: " + DurableFiles.reason(e), e);
      }
    }
  }

  /**
   * Saves a checkpoint, then removes the oldest beyond {@code keep}. The one just saved always
   * stays.
   *
   * @param contents what to save; its state names the step
   * @param keep how many of the newest stay, at least 1
   * @return the checkpoint's folder
   * @throws UserError if it cannot be written, for example because the disk is full; earlier
   *     checkpoints are untouched
   */
  public Path save(CheckpointContents contents, int keep) {
    begin(contents.state().step());
    return commit(contents, keep);
  }

  /**
   * Begins a checkpoint to which several ranks contribute: one of them, before {@link #write} on any.
   *
   * @throws UserError if nothing can be written
   */
  public void begin(int step) {
    saving(
        step,
        aside -> {
          Files.createDirectories(folder);
          DurableFiles.deleteTree(aside);
          Files.createDirectories(aside.resolve(SavedCheckpoint.TRAINER));
        });
  }

  /**
   * Writes files of trainer/ of a checkpoint that was begun. Several ranks may do so at once, under
   * different names; so what a failure leaves stays until the next start, for others may be writing.
   *
   * @param files tensors by the name of their file
   * @throws UserError if they cannot be written
   */
  public void write(int step, Map<String, List<NamedTensor>> files) {
    try {
      trainer(aside(step), files);
    } catch (IOException e) {
      throw failed(step, e);
    }
  }

  /**
   * Writes the rest of a checkpoint that was begun and makes it one, then removes the oldest beyond
   * {@code keep}: what {@link #save} does when all parts are there.
   */
  public Path commit(CheckpointContents contents, int keep) {
    int step = contents.state().step();
    saving(step, aside -> write(aside, contents));
    return complete(contents.state(), keep);
  }

  /**
   * Writes all but the parts of ranks and the list of files: the model, and the tensors of trainer/
   * that are whole. The same failure as of {@link #write(int, Map)}.
   */
  public void writeModel(CheckpointContents contents) {
    int step = contents.state().step();
    try {
      write(aside(step), contents);
    } catch (IOException e) {
      throw failed(step, e);
    }
  }

  /**
   * Makes a folder in which everything was written a checkpoint, then removes the oldest beyond
   * {@code keep}.
   */
  public Path complete(TrainerState state, int keep) {
    int step = state.step();
    Path target = path(step);
    saving(
        step,
        aside -> {
          list(aside, state);
          if (Files.exists(target)) {
            Path old = folder.resolve(target.getFileName() + ".old" + ASIDE);
            DurableFiles.deleteTree(old);
            Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
          }
          Files.move(aside, target, StandardCopyOption.ATOMIC_MOVE);
          DurableFiles.flushFolder(folder);
          DurableFiles.deleteTree(folder.resolve(target.getFileName() + ".old" + ASIDE));
          prune(step, keep);
        });
    return target;
  }

  /** Something that is done with the folder that a checkpoint is written to. */
  private interface Work {
    void on(Path aside) throws IOException;
  }

  /** Does it; a failure removes the folder and names the last checkpoint. */
  private void saving(int step, Work work) {
    Path aside = aside(step);
    try {
      work.on(aside);
    } catch (IOException e) {
      try {
        DurableFiles.deleteTree(aside);
      } catch (IOException suppressed) {
        e.addSuppressed(suppressed);
      }
      throw failed(step, e);
    }
  }

  private Path aside(int step) {
    return folder.resolve(path(step).getFileName() + ASIDE);
  }

  private UserError failed(int step, IOException e) {
    List<Integer> steps = steps();
    String last = steps.isEmpty() ? "there is none yet" : "step-" + steps.get(steps.size() - 1);
    return new UserError(
        DurableFiles.cannotWrite(path(step), e).getMessage() + "; last complete checkpoint: " + last,
        e);
  }

  /** Removes the checkpoints past a step, which a resume from that step makes again. */
  public void discardAfter(int step) {
    try {
      for (int later : steps()) {
        if (later > step) {
          remove(path(later));
        }
      }
    } catch (IOException e) {
      throw new UserError(folder + ": cannot be cleaned: " + DurableFiles.reason(e), e);
    }
  }

  private void write(Path aside, CheckpointContents contents) throws IOException {
    text(aside.resolve("config.json"), contents.configJson());
    SafetensorsWriter.writeModel(
        aside, contents.weights(), SafetensorsWriter.MAX_SHARD_BYTES, opener);
    for (Map.Entry<String, Path> companion : contents.companions().entrySet()) {
      copy(companion.getValue(), aside.resolve(companion.getKey()));
    }
    trainer(aside, contents.trainer());
  }

  /** Written last: it lists every other file with its size, which makes the folder complete. */
  private void list(Path aside, TrainerState state) throws IOException {
    ObjectNode json = state.toJson();
    ObjectNode files = json.putObject("files");
    for (Map.Entry<String, Long> file : sizes(aside).entrySet()) {
      files.put(file.getKey(), file.getValue());
    }
    text(aside.resolve(SavedCheckpoint.STATE), json.toPrettyString() + "\n");
    DurableFiles.flushFolder(aside);
  }

  private void trainer(Path aside, Map<String, List<NamedTensor>> files) throws IOException {
    Path trainer = aside.resolve(SavedCheckpoint.TRAINER);
    for (Map.Entry<String, List<NamedTensor>> file : files.entrySet()) {
      DurableFiles.write(
          trainer.resolve(file.getKey() + ".safetensors"),
          channel -> SafetensorsWriter.write(channel, file.getValue()),
          opener);
    }
    DurableFiles.flushFolder(trainer);
  }

  private void text(Path file, String text) throws IOException {
    ByteBuffer bytes = SafetensorsWriter.utf8(text);
    DurableFiles.write(file, channel -> DurableFiles.writeFully(channel, bytes), opener);
  }

  private void copy(Path from, Path to) throws IOException {
    try (FileChannel source = FileChannel.open(from, StandardOpenOption.READ)) {
      DurableFiles.write(
          to,
          channel -> {
            long size = source.size();
            for (long done = 0; done < size; ) {
              done += source.transferTo(done, size - done, channel);
            }
          },
          opener);
    }
  }

  /** Bytes of every file below a folder, by its path in it. */
  private static Map<String, Long> sizes(Path root) throws IOException {
    Map<String, Long> sizes = new TreeMap<>();
    try (Stream<Path> files = Files.walk(root)) {
      for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile)::iterator) {
        sizes.put(root.relativize(file).toString(), Files.size(file));
      }
    }
    return sizes;
  }

  private void prune(int saved, int keep) throws IOException {
    List<Integer> steps = steps();
    steps.remove(Integer.valueOf(saved));
    for (int i = 0; i < steps.size() - (keep - 1); i++) {
      remove(path(steps.get(i)));
    }
  }

  private void remove(Path checkpoint) throws IOException {
    Path aside = folder.resolve(checkpoint.getFileName() + ".old" + ASIDE);
    DurableFiles.deleteTree(aside);
    Files.move(checkpoint, aside, StandardCopyOption.ATOMIC_MOVE);
    DurableFiles.deleteTree(aside);
  }

  private List<Path> entries() {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.sorted().toList();
    } catch (IOException e) {
      throw new UserError(folder + ": cannot be read: " + DurableFiles.reason(e), e);
    }
  }
}
