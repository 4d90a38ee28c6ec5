package dev.caravan.data.mix;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * What a run will draw from a mixture.
 *
 * @param mixture its name
 * @param identity tells it from others
 * @param examples that the run draws, about
 * @param lines one a task
 */
public record MixtureReport(String mixture, String identity, long examples, List<Line> lines) {
  private static final int SHOWN = 20;

  /**
   * What is drawn from a task.
   *
   * @param task its name
   * @param rows that it has
   * @param skipped rows that were left out as bad
   * @param copies rows that were left out because the run evaluates on them
   * @param rate its share of the examples
   * @param repeats how often each of its rows comes up in the run, on average
   * @param tokensPerRow mean over some of its rows
   * @param tokenShare its share of the tokens, about
   * @param targetShare its share of the target tokens, about
   * @param exemplars before one of its rows, on average
   * @param exemplarsLeftOut share of its exemplars for which there is no room
   */
  public record Line(
      String task,
      long rows,
      long skipped,
      long copies,
      double rate,
      double repeats,
      double tokensPerRow,
      double tokenShare,
      double targetShare,
      double exemplars,
      double exemplarsLeftOut) {}

  public MixtureReport {
    lines = List.copyOf(lines);
  }

  /** What {@code examples} examples of a mixture are. */
  public static MixtureReport of(Mixture mixture, long examples) {
    Estimate estimate = mixture.rows().estimate();
    List<Line> lines = new ArrayList<>();
    for (int t = 0; t < mixture.names().size(); t++) {
      double rate = mixture.rates()[t];
      lines.add(
          new Line(
              mixture.names().get(t),
              mixture.sizes()[t],
              mixture.skipped()[t],
              mixture.copies()[t],
              rate,
              rate * examples / mixture.sizes()[t],
              estimate.tokens()[t],
              rate * estimate.tokens()[t] / Math.max(1e-9, estimate.tokensPerExample()),
              rate * estimate.targets()[t] / Math.max(1e-9, estimate.targetsPerExample()),
              estimate.exemplars()[t],
              estimate.exemplarsLeftOut()[t]));
    }
    return new MixtureReport(mixture.spec().root(), mixture.identity(), examples, lines);
  }

  /** The examples of a step of {@code tokens} tokens, about. */
  public static double examplesIn(Mixture mixture, long tokens) {
    return tokens / Math.max(1, mixture.rows().estimate().tokensPerExample());
  }

  /** A table for people: the tasks that are drawn most, and what was left out. */
  public List<String> table() {
    List<String> text = new ArrayList<>();
    long rows = lines.stream().mapToLong(Line::rows).sum();
    text.add(
        say(
            "mixture %s: %,d tasks, %,d rows, %,d examples",
            mixture, lines.size(), rows, examples));
    text.add("   rate  repeats  tokens  targets        rows  task");
    List<Line> byRate =
        lines.stream().sorted(Comparator.comparingDouble(Line::rate).reversed()).toList();
    for (Line line : byRate.subList(0, Math.min(SHOWN, byRate.size()))) {
      text.add(
          say(
              "%5.1f %% %8.2f %5.1f %%  %5.1f %% %,11d  %s",
              100 * line.rate(),
              line.repeats(),
              100 * line.tokenShare(),
              100 * line.targetShare(),
              line.rows(),
              line.task()));
    }
    if (byRate.size() > SHOWN) {
      double rest = byRate.stream().skip(SHOWN).mapToDouble(Line::rate).sum();
      text.add(say("%5.1f %%  %,d more tasks", 100 * rest, byRate.size() - SHOWN));
    }
    for (Line line : lines) {
      if (line.skipped() > 0) {
        text.add(say("task %s: %,d bad rows left out", line.task(), line.skipped()));
      }
      if (line.copies() > 0) {
        text.add(
            say(
                "task %s: %,d rows left out, which are evaluated on",
                line.task(), line.copies()));
      }
      if (line.exemplarsLeftOut() > 0) {
        text.add(
            say(
                "task %s: %.1f exemplars a row; %.0f %% of them left out to fit",
                line.task(), line.exemplars(), 100 * line.exemplarsLeftOut()));
      }
    }
    return text;
  }

  private static String say(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }
}
