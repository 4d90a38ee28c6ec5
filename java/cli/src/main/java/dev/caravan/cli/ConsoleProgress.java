package dev.caravan.cli;

import dev.caravan.train.log.Progress;
import dev.caravan.train.log.StepMetrics;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/**
 * Progress on standard error: a bar with loss, tokens per second and time left on a terminal, else
 * a plain line now and then.
 */
final class ConsoleProgress implements Progress {
  private static final int UPDATE_MILLIS = 200;
  private static final long LINE_EVERY_NANOS = Duration.ofSeconds(5).toNanos();

  /** Wipes the bar, which draws itself anew on the line below. */
  private static final String CLEAR_LINE = "\r\u001b[K";

  private final PrintStream out;
  private final boolean terminal;
  private ProgressBar bar;
  private int total;
  private long began;
  private int first;
  private long lastLine;

  ConsoleProgress() {
    this(System.err, isTerminal());
  }

  ConsoleProgress(PrintStream out, boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  /**
   * Whether standard error is a terminal; System.console only tells about the other two streams.
   */
  private static boolean isTerminal() {
    try {
      String target = Files.readSymbolicLink(Path.of("/proc/self/fd/2")).toString();
      return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
    } catch (IOException | UnsupportedOperationException e) {
      return false;
    }
  }

  @Override
  public void start(int done, int total) {
    this.total = total;
    first = done;
    began = System.nanoTime();
    lastLine = began - LINE_EVERY_NANOS;
    if (terminal) {
      bar =
          new ProgressBarBuilder()
              .setTaskName("step")
              .setInitialMax(total)
              .startsFrom(done, Duration.ZERO)
              .setStyle(ProgressBarStyle.ASCII)
              .setUpdateIntervalMillis(UPDATE_MILLIS)
              .setConsumer(new ConsoleProgressBarConsumer(out))
              .build();
    }
  }

  @Override
  public void step(StepMetrics m) {
    if (bar != null) {
      bar.setExtraMessage(
          String.format(Locale.ROOT, " loss %.4f, %,.0f tokens/s", m.loss(), m.tokensPerS()));
      bar.stepTo(m.step());
      return;
    }
    long now = System.nanoTime();
    boolean edge = m.step() == first + 1 || m.step() == total;
    if (!edge && now - lastLine < LINE_EVERY_NANOS) {
      return;
    }
    lastLine = now;
    double left = (now - began) / 1e9 / (m.step() - first) * (total - m.step());
    out.printf(
        Locale.ROOT,
        "step %d/%d  loss %.4f  %,.0f tokens/s  %s left%n",
        m.step(),
        total,
        m.loss(),
        m.tokensPerS(),
        duration(left));
  }

  /** For example 1:02:03 or 2:03. */
  static String duration(double seconds) {
    long s = Math.round(seconds);
    return s >= 3600
        ? String.format("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60)
        : String.format("%d:%02d", s / 60, s % 60);
  }

  @Override
  public void note(String line) {
    if (bar != null) {
      out.print(CLEAR_LINE);
    }
    out.println(line);
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}
