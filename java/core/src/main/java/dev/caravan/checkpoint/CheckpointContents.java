package dev.caravan.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * What goes into a checkpoint.
 *
 * @param configJson the model's config.json, in a form that Hugging Face loads
 * @param weights the model's parameters in the run's precision
 * @param trainer further tensors by the name of their file in trainer/: moments, remainders
 * @param state where the run stands
 * @param companions files copied beside the weights, so that the folder works elsewhere
 */
public record CheckpointContents(
    String configJson,
    List<NamedTensor> weights,
    Map<String, List<NamedTensor>> trainer,
    TrainerState state,
    List<Path> companions) {

  private static final List<String> COMPANION_NAMES =
      List.of(
          "generation_config.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "chat_template.jinja");

  /** Copies the lists. */
  public CheckpointContents {
    weights = List.copyOf(weights);
    trainer = Map.copyOf(trainer);
    companions = List.copyOf(companions);
  }

  /** The tokenizer and generation files of a model folder, those that are there. */
  public static List<Path> companionsOf(Path modelFolder) {
    return COMPANION_NAMES.stream().map(modelFolder::resolve).filter(Files::isRegularFile).toList();
  }
}
