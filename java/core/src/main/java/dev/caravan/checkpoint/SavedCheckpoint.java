package dev.caravan.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

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
