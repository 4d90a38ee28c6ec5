package dev.caravan.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A complete checkpoint on disk.
 *
 * @param folder its folder, which is also a Hugging Face model folder
 * @param state where the run stood
 */
public record SavedCheckpoint(Path folder, TrainerState state) {
  static final String TRAINER = "trainer";
  static final String STATE = TRAINER + "/state.json";
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Opens a checkpoint.
   *
   * @throws UserError if it is not one, or is not complete, saying what is missing
   */
  public static SavedCheckpoint open(Path folder) {
    Optional<String> problem = problem(folder);
    if (problem.isPresent()) {
      throw new UserError(folder + ": not a complete checkpoint: " + problem.get());
    }
    try {
      return new SavedCheckpoint(folder, TrainerState.fromJson(stateJson(folder)));
    } catch (IOException e) {
      throw new UserError(folder.resolve(STATE) + ": cannot be read: " + DurableFiles.reason(e), e);
    }
  }

  /** The model's parameters. */
  public Safetensors weights() {
    return Safetensors.open(folder);
  }

  /** One file of trainer/, by the name that it was saved under. */
  public Safetensors trainer(String name) {
    return Safetensors.open(folder.resolve(TRAINER).resolve(name + ".safetensors"));
  }

  /**
   * What was saved under a name in trainer/: one file, or one of every rank.
   *
   * @throws UserError if there is none
   */
  public TensorPieces pieces(String name) {
    Path trainer = folder.resolve(TRAINER);
    try (Stream<Path> entries = Files.list(trainer)) {
      List<Path> files =
          entries.filter(file -> isPart(file.getFileName().toString(), name)).sorted().toList();
      if (files.isEmpty()) {
        throw new UserError(trainer.resolve(name + ".safetensors") + ": no such file");
      }
      return TensorPieces.open(files);
    } catch (IOException e) {
      throw new UserError(trainer + ": cannot be read: " + DurableFiles.reason(e), e);
    }
  }

  /** The name of a file that holds a rank's part of what is saved under a name. */
  public static String part(String name, int rank, int ranks) {
    return name + ".rank-" + rank + "-of-" + ranks;
  }

  private static boolean isPart(String file, String name) {
    return file.equals(name + ".safetensors")
        || file.matches(Pattern.quote(name) + "\\.rank-[0-9]+-of-[0-9]+\\.safetensors");
  }

  /** What keeps a folder from being a complete checkpoint; empty where nothing does. */
  static Optional<String> problem(Path folder) {
    try {
      if (!Files.isRegularFile(folder.resolve(STATE))) {
        return Optional.of(STATE + " is missing");
      }
      JsonNode json = stateJson(folder);
      JsonNode files = json.path("files");
      if (json.path("step").asInt() < 1 || files.isEmpty()) {
        return Optional.of(STATE + " is damaged");
      }
      for (Map.Entry<String, JsonNode> file : files.properties()) {
        Path path = folder.resolve(file.getKey());
        long size = Files.isRegularFile(path) ? Files.size(path) : -1;
        if (size != file.getValue().asLong()) {
          return Optional.of(
              file.getKey()
                  + (size < 0
                      ? " is missing"
                      : " has " + size + " bytes, needs " + file.getValue().asLong()));
        }
      }
      return Optional.empty();
    } catch (IOException e) {
      return Optional.of(STATE + " is damaged");
    }
  }

  private static JsonNode stateJson(Path folder) throws IOException {
    return JSON.readTree(Files.readAllBytes(folder.resolve(STATE)));
  }
}
