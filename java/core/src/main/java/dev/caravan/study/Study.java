package dev.caravan.study;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.quality.QualityClassifier;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A study, as its file says.
 *
 * @param output where cells, the table and the plot go
 * @param run keys of a run file that all cells share
 * @param models sizes by name
 * @param seeds each cell is run with each
 * @param keepModels whether the weights of cells stay after they are scored
 * @param axes what is varied besides
 */
public record Study(
    Path output,
    ObjectNode run,
    Map<String, Size> models,
    List<Long> seeds,
    boolean keepModels,
    Axes axes) {

  /**
   * A model.
   *
   * @param keys of a run file, over the shared ones
   * @param pretrain keys of the run that makes it first; empty where it is there already
   */
  public record Size(ObjectNode keys, Optional<ObjectNode> pretrain) {}

  /** What is varied. */
  public sealed interface Axes {}

  /**
   * Number of tasks, with or without reasoning data; scored by exact match on whole tasks that are
   * never trained on.
   *
   * @param mixture whose tasks these are, with their own words and rates; empty for files
   * @param tasks files by name, in the order in which they are added
   * @param counts numbers of tasks; 0 is the model as it is
   * @param reasoning files with worked answers, added in the cells with reasoning
   * @param withReasoning false, true or both
   * @param heldOut files of tasks that no cell trains on; their unweighted mean is the score
   * @param also files that are scored too but do not count
   * @param heldOutRows so many rows of a held-out task of the mixture are asked
   */
  public record Tasks(
      Optional<Path> mixture,
      Map<String, List<Path>> tasks,
      List<Integer> counts,
      Map<String, List<Path>> reasoning,
      List<Boolean> withReasoning,
      Map<String, List<Path>> heldOut,
      Map<String, Path> also,
      int heldOutRows)
      implements Axes {}

  /**
   * Filtered against unfiltered text, the same steps on each; scored by the loss on held-out text.
   *
   * @param curated files of text of the kind that is wanted
   * @param raw files of text to choose from
   * @param settings of the classifier
   * @param alpha shape of the draw by its scores
   * @param seed of classifier and draw
   */
  public record Quality(
      List<Path> curated,
      List<Path> raw,
      QualityClassifier.Settings settings,
      double alpha,
      long seed)
      implements Axes {}
}
