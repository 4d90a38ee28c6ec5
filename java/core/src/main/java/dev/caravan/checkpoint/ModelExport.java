package dev.caravan.checkpoint;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Map;
import java.util.Optional;

/** Writes a model folder that other programs load, from a model folder or a checkpoint. */
public final class ModelExport {
  private ModelExport() {}

  /**
   * Writes config.json, the weights as they are, and the tokenizer's files. The folder appears
   * whole or not at all.
   *
   * @param model the folder to export; its weights are read once, to be sure that they are whole
   *     and finite
   * @param configJson the new config.json
   * @param out the new folder; must not exist
   * @throws UserError if the weights are damaged, or the folder exists or cannot be written
   */
  public static void write(Path model, Safetensors weights, String configJson, Path out) {
    if (Files.exists(out)) {
      throw new UserError(out + ": exists already; choose another name");
    }
    weights.verify();
    Path aside = out.resolveSibling(out.getFileName() + ".tmp");
    try {
      Files.createDirectories(aside);
      DurableFiles.replace(
          aside.resolve("config.json"), configJson.getBytes(StandardCharsets.UTF_8));
      for (Path file : weights.files()) {
        Files.copy(file, aside.resolve(file.getFileName()), StandardCopyOption.REPLACE_EXISTING);
      }
      Path index = model.resolve(Safetensors.INDEX_FILE);
      if (weights.files().size() > 1) {
        Files.copy(
            index, aside.resolve(Safetensors.INDEX_FILE), StandardCopyOption.REPLACE_EXISTING);
      }
      for (Map.Entry<String, Path> companion :
          CheckpointContents.companionsOf(Optional.of(model), Optional.empty()).entrySet()) {
        Files.copy(
            companion.getValue(),
            aside.resolve(companion.getKey()),
            StandardCopyOption.REPLACE_EXISTING);
      }
      Files.move(aside, out, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      remove(aside);
      throw DurableFiles.cannotWrite(out, e);
    }
  }

  private static void remove(Path folder) {
    try {
      DurableFiles.deleteTree(folder);
    } catch (IOException e) {
      // The failure that left it is already on its way.
    }
  }
}
