package dev.caravan.study;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import dev.caravan.model.WeightSpec;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.Trainer;
import dev.caravan.train.TrainingRun;
import dev.caravan.train.log.Progress;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Runs a study cell by cell. A cell that is done is read from its file; one that was interrupted
 * goes on from its last checkpoint. The table and the plot are written anew after every cell.
 */
public final class StudyRun {
  /**
   * What is around a study.
   *
   * @param choice where cells are trained
   * @param progress makes the display of a run
   * @param say gets a line for each cell
   * @param stop asked after every step; true ends the study with a checkpoint
   */
  public record Context(
      DeviceChoice choice,
      Supplier<Progress> progress,
      Consumer<String> say,
      BooleanSupplier stop) {}

  private final Study study;
  private final Context context;
  private final Cells cells;
  private final Map<String, Path> bases = new HashMap<>();

  private StudyRun(Study study, Context context) {
    this.study = study;
    this.context = context;
    cells = new Cells(study.output());
  }

  /**
   * Runs what is not done yet.
   *
   * @return whether all cells are done; false if asked to stop
   * @throws UserError if something is wrong with the study, a run or its data
   */
  public static boolean run(Study study, Context context) {
    try {
      Files.createDirectories(study.output());
    } catch (IOException e) {
      throw DurableFiles.cannotWrite(study.output(), e);
    }
    StudyRun run = new StudyRun(study, context);
    return study.axes() instanceof Study.Tasks tasks
        ? new TaskCells(run, tasks).run()
        : new QualityCells(run, (Study.Quality) study.axes()).run();
  }

  Study study() {
    return study;
  }

  Context context() {
    return context;
  }

  Cells cells() {
    return cells;
  }

  /** Run-file keys of a model, its base being there. */
  ObjectNode keys(String model) {
    ObjectNode keys = Cells.merge(study.run(), study.models().get(model).keys());
    if (bases.containsKey(model)) {
      keys.set(
          "model", JsonNodeFactory.instance.objectNode().put("path", bases.get(model).toString()));
    }
    return keys;
  }

  /** Makes the bases that have to be pre-trained first; false if asked to stop. */
  boolean bases() {
    for (Map.Entry<String, Study.Size> size : study.models().entrySet()) {
      Optional<ObjectNode> pretrain = size.getValue().pretrain();
      if (pretrain.isPresent()) {
        String output = study.output().resolve("bases").resolve(size.getKey()).toString();
        ObjectNode keys = pretrain.get().deepCopy().put("output", output);
        context.say().accept("base " + size.getKey());
        Optional<Path> base =
            train(Cells.config(keys, size.getKey()), TrainingRun.Loss.EVERY_TOKEN);
        if (base.isEmpty()) {
          return false;
        }
        bases.put(size.getKey(), base.get());
      }
    }
    return true;
  }

  /** Trains to the end; empty if asked to stop, with a checkpoint. */
  Optional<Path> train(RunConfig config, TrainingRun.Loss loss) {
    try (Progress progress = context.progress().get()) {
      TrainingRun.Outcome outcome =
          TrainingRun.run(config, loss, context.choice(), progress, context.stop());
      return outcome.end() == Trainer.End.COMPLETE
          ? Optional.of(outcome.checkpoint())
          : Optional.empty();
    }
  }

  /** Removes the weights of a cell that is scored. */
  void forget(Path run) {
    if (!study.keepModels()) {
      try {
        DurableFiles.deleteTree(run.resolve("checkpoints"));
      } catch (IOException e) {
        throw DurableFiles.cannotWrite(run, e);
      }
    }
  }

  static long parameters(RunConfig config) {
    return ModelSource.of(config.model()).config().specs().stream()
        .mapToLong(WeightSpec::elements)
        .sum();
  }

  void plot(String title, String across, String up, List<LinePlot.Line> lines) {
    cells.table();
    Cells.write(study.output().resolve("plot.svg"), LinePlot.svg(title, across, up, lines));
  }
}
