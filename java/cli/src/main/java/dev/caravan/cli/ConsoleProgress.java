package dev.caravan.cli;

import dev.caravan.train.log.Progress;
import dev.caravan.train.log.StepMetrics;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;

/**
 * Progress on standard error: one line that is drawn anew in its place on a terminal, else a plain line
 * now and then. Both say the same: step, loss, tokens per second, share of the time spent waiting for
 * data, time left.
 */
final class ConsoleProgress implements Progress {
  private static final long DRAW_EVERY_NANOS = Duration.ofMillis(100).toNanos();
  private static final long LINE_EVERY_NANOS = Duration.ofSeconds(5).toNanos();

  /** Back to the first column, and wipes what is there. */
  private static final String CLEAR_LINE = "\r\u001b[K";

  /** One less than the columns, so that no terminal wraps. */
  private static final int WIDTH = Terminal.COLUMNS - 1;

  private static final int WIDEST_BAR = 20;

  private final PrintStream out;
  private final boolean terminal;
  private int total;
  private long began;
  private int first;
  private long shown;
  private double seconds;
  private double waited;
  private String line = "";

  ConsoleProgress() {
    this(System.err, Terminal.error());
  }

  ConsoleProgress(PrintStream out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  @Override
  public void start(int done, int total) {
    this.total = total;
    first = done;
    began = System.nanoTime();
    shown = began - LINE_EVERY_NANOS;
  }

  @Override
  public void step(StepMetrics m) {
    seconds += m.seconds();
    waited += m.dataWaitS();
    long now = System.nanoTime();
    boolean edge = m.step() == first + 1 || m.step() == total;
    if (!edge && now - shown < (terminal ? DRAW_EVERY_NANOS : LINE_EVERY_NANOS)) {
      return;
    }
    shown = now;
    String text = text(m, (now - began) * 1e-9 / (m.step() - first) * (total - m.step()));
    if (terminal) {
      line = bar(m.step(), WIDTH - text.length() - 1) + text;
      draw();
    } else {
      out.println(text);
    }
  }

  private String text(StepMetrics m, double left) {
    return String.format(
        Locale.ROOT,
        "step %d/%d  loss %.4f  %,.0f tokens/s  data %.0f %%  %s left",
        m.step(),
        total,
        m.loss(),
        m.tokensPerS(),
        seconds > 0 ? 100 * waited / seconds : 0,
        duration(left));
  }

  /** For example "[=====     ] ", as wide as there is room; "" where there is too little. */
  private String bar(int step, int room) {
    int width = Math.min(room, WIDEST_BAR) - 2;
    if (width < 3) {
      return "";
    }
    int full = (int) ((long) width * step / Math.max(1, total));
    return "[" + "=".repeat(full) + " ".repeat(width - full) + "] ";
  }

  private void draw() {
    out.print(CLEAR_LINE + line);
    out.flush();
  }

  /** For example 1:02:03 or 2:03. */
  static String duration(double seconds) {
    long s = Math.round(seconds);
    return s >= 3600
        ? String.format("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60)
        : String.format("%d:%02d", s / 60, s % 60);
  }

  @Override
  public void note(String text) {
    if (line.isEmpty()) {
      out.println(text);
    } else {
      out.println(CLEAR_LINE + text);
      draw();
    }
  }

  @Override
  public void close() {
    if (!line.isEmpty()) {
      out.println();
      line = "";
    }
  }
}
