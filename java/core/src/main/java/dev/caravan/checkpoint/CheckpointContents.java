package dev.caravan.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What goes into a checkpoint.
 *
 * @param configJson the model's config.json, in a form that Hugging Face loads
 * @param weights the model's parameters in the run's precision
 * @param trainer further tensors by the name of their file in trainer/: moments, remainders
 * @param state where the run stands
 * @param companions files copied beside the weights, by the name that they get, so that the folder
 *     works elsewhere
 */
public record CheckpointContents(
    String configJson,
    List<NamedTensor> weights,
    Map<String, List<NamedTensor>> trainer,
    TrainerState state,
    Map<String, Path> companions) {

  private static final String GENERATION = "generation_config.json";
  private static final List<String> TOKENIZER =
      List.of(
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer.bin",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "chat_template.jinja");

  /** Copies the collections. */
  public CheckpointContents {
    weights = List.copyOf(weights);
    trainer = Map.copyOf(trainer);
    companions = Map.copyOf(companions);
  }

  /**
   * The generation and tokenizer files of a model, those that are there.
   *
   * @param model the model folder, where the run began with one
   * @param tokenizer the tokenizer file or folder, where it is not the model folder's
   */
  public static Map<String, Path> companionsOf(Optional<Path> model, Optional<Path> tokenizer) {
    Map<String, Path> files = new TreeMap<>();
    model.ifPresent(folder -> add(files, folder, List.of(GENERATION)));
    Optional<Path> from = tokenizer.or(() -> model);
    if (from.isPresent() && Files.isRegularFile(from.get())) {
      String name = from.get().getFileName().toString();
      files.put("tokenizer" + name.substring(Math.max(0, name.lastIndexOf('.'))), from.get());
    } else {
      from.ifPresent(folder -> add(files, folder, TOKENIZER));
    }
    return files;
  }

  private static void add(Map<String, Path> files, Path folder, List<String> names) {
    for (String name : names) {
      if (Files.isRegularFile(folder.resolve(name))) {
        files.put(name, folder.resolve(name));
      }
    }
  }
}
