package dev.caravan.eval.suite;

import java.nio.file.Path;
import java.util.List;

/** A benchmark. */
public interface Suite {
  /** Its name on the command line. */
  String name();

  /** What it is and how it is scored by default, in one line. */
  String line();

  /** Whether it can be asked both with reasoning and without. */
  default boolean hasReasoning() {
    return false;
  }

  /**
   * Reads its questions.
   *
   * @param data the benchmark's folder, one that holds it, or a file of it
   * @throws dev.caravan.data.UserError if a file is missing or a row malformed, naming it
   */
  List<Paper> read(Path data, SuiteOptions options);
}
