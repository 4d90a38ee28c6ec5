package dev.caravan.train.log;

/** Where a run shows how far it is. Called from one thread. */
public interface Progress extends AutoCloseable {

  /** Shows nothing. */
  Progress SILENT =
      new Progress() {
        @Override
        public void start(int done, int total) {}

        @Override
        public void step(StepMetrics metrics) {}

        @Override
        public void note(String line) {}

        @Override
        public void close() {}
      };

  /**
   * Begins.
   *
   * @param done steps that earlier runs did
   * @param total steps of the whole run
   */
  void start(int done, int total);

  /** Shows a step that is done. */
  void step(StepMetrics metrics);

  /** Shows a line that is not a step: an evaluation, a checkpoint. */
  void note(String line);

  /** Ends the display, leaving its last state. */
  @Override
  void close();
}
