package dev.caravan.train;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.task.LoadedRows;
import dev.caravan.data.task.Purpose;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.task.RowLoader;
import dev.caravan.model.LlamaConfig;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The rows of a run, tokenized.
 *
 * @param train rows to train on
 * @param heldOut rows to evaluate on, where the run names some
 */
public record RunData(RowSet train, Optional<RowSet> heldOut) {

  /**
   * Reads the rows of a run.
   *
   * @param vocab token ids of the model are below it
   * @param warnings gets a line for each file that lost rows or tokens
   * @throws UserError if rows are malformed, do not fit, or none is left
   */
  static RunData load(RunConfig config, int vocab, Consumer<String> warnings) {
    config.requireData();
    RowSet train = rows(config, config.data().paths(), vocab, warnings);
    Optional<RowSet> heldOut =
        config.eval().data().map(path -> rows(config, List.of(path.toString()), vocab, warnings));
    return new RunData(train, heldOut);
  }

  private static RowSet rows(
      RunConfig config, List<String> paths, int vocab, Consumer<String> warnings) {
    RowLimits limits = RowLimits.ofSequence(config.sequence().length(), vocab);
    LoadedRows loaded = RowLoader.loadTokens(paths, limits, Purpose.TRAIN);
    loaded.report().warnings().forEach(warnings);
    return loaded.rows();
  }

  /**
   * Reads the rows that are to be scored: all of them, in order, none cut.
   *
   * @throws UserError if rows are malformed or longer than the model's context
   */
  public static RowSet forScore(RunConfig config, LlamaConfig model) {
    RowLimits limits = new RowLimits(model.maxPosition(), "the model's context", model.vocab());
    return RowLoader.loadTokens(config.data().paths(), limits, Purpose.SCORE).rows();
  }

  /** Tokens of the shortest row of all. */
  int shortest() {
    int shortest = train.minLength();
    return heldOut.map(rows -> Math.min(shortest, rows.minLength())).orElse(shortest);
  }
}
