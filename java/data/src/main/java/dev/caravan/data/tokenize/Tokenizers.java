package dev.caravan.data.tokenize;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** Opens tokenizers of any known kind. */
public final class Tokenizers {
  private static final List<String> NAMES =
      List.of(
          "tokenizer.json",
          "tokenizer.model",
          "spiece.model",
          "sentencepiece.model",
          "tokenizer.bin");

  private Tokenizers() {}

  /**
   * Opens a tokenizer file, or the one that a folder holds: tokenizer.json, else a SentencePiece
   * .model, else a llama2.c .bin. Nothing is ever downloaded.
   *
   * @throws UserError if there is none, or it cannot be read
   */
  public static Tokenizer open(Path fileOrFolder) {
    if (!Files.exists(fileOrFolder)) {
      throw new UserError(fileOrFolder + ": no such tokenizer file or folder");
    }
    Path file = Files.isDirectory(fileOrFolder) ? find(fileOrFolder) : fileOrFolder;
    String name = file.getFileName().toString();
    if (name.endsWith(".json")) {
      return HuggingFaceTokenizer.open(file);
    }
    if (name.endsWith(".model")) {
      return SentencePieceTokenizer.open(file);
    }
    if (name.endsWith(".bin")) {
      return Llama2cTokenizer.open(file);
    }
    throw new UserError(
        file
            + ": not a tokenizer that is known; expected tokenizer.json, a SentencePiece .model or"
            + " a llama2.c .bin");
  }

  private static Path find(Path folder) {
    for (String name : NAMES) {
      if (Files.isRegularFile(folder.resolve(name))) {
        return folder.resolve(name);
      }
    }
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> models =
          files.filter(file -> file.getFileName().toString().endsWith(".model")).sorted().toList();
      if (models.size() == 1) {
        return models.get(0);
      }
    } catch (IOException e) {
      throw new UserError(folder + ": cannot be read: " + e.getMessage(), e);
    }
    throw new UserError(
        folder
            + ": no tokenizer in it; expected one of "
            + String.join(", ", NAMES)
            + "; name one: the tokenizer key of a run file, --tokenizer of generate (whose --ids needs"
            + " none)");
  }
}
