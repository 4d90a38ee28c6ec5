package dev.caravan.cli;

import dev.caravan.checkpoint.Checkpoints;
import dev.caravan.checkpoint.SavedCheckpoint;
import dev.caravan.data.UserError;
import dev.caravan.train.Cwd;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** The folder that {@code --model} names. */
final class ModelFolders {
  private ModelFolders() {}

  /**
   * The absolute path of a model folder.
   *
   * @throws UserError if it is a run's folder, naming the checkpoint in it that was probably meant
   */
  static Path resolve(String model) {
    Path folder = Cwd.resolve(model);
    if (!Files.exists(folder.resolve("config.json"))) {
      Optional<SavedCheckpoint> latest = new Checkpoints(folder.resolve("checkpoints")).latest();
      if (latest.isPresent()) {
        throw new UserError(
            "--model "
                + model
                + ": the folder of a run; did you mean "
                + latest.get().folder()
                + "?");
      }
    }
    return folder;
  }
}
