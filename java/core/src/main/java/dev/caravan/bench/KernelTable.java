package dev.caravan.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Results as Markdown within 80 columns: to be read in a terminal and pasted into an issue. */
public final class KernelTable {
  private static final List<String> HEAD = List.of("op", "shape", "type", "time", "rate", "roof");

  /** How many leading columns are words; the others are numbers. */
  private static final int WORDS = 3;

  private KernelTable() {}

  /**
   * The lines of the table. Below it stand, with the reason, ops that could not be measured, and our own kernel's
   * rate where the table has a vendor's library's.
   */
  public static List<String> lines(List<KernelBench.Result> results, Roof roof) {
    List<List<String>> rows = new ArrayList<>();
    rows.add(HEAD);
    List<String> notes = new ArrayList<>();
    for (KernelBench.Result result : results) {
      if (result.seconds().isEmpty()) {
        notes.add("not measured: " + result.op() + " " + type(result) + ": " + result.refusal());
      } else {
        rows.add(row(result, roof));
        result.ours().ifPresent(ratio -> notes.add(ours(result, ratio)));
      }
    }
    List<String> lines = new ArrayList<>(markdown(rows, WORDS));
    lines.addAll(notes);
    return lines;
  }

  private static List<String> row(KernelBench.Result result, Roof roof) {
    double seconds = result.seconds().orElseThrow();
    Cost cost = result.cost();
    boolean compute =
        cost.computeBound(roof.copyBytesPerSecond(), roof.flopsPerSecond(result.dtype()));
    double rate = (compute ? cost.flops() : cost.bytes()) / seconds;
    return List.of(
        result.op(),
        result.shape(),
        type(result),
        time(seconds),
        rate(rate, compute ? "FLOP/s" : "B/s"),
        String.format(Locale.ROOT, "%.0f %%", 100 * result.share()));
  }

  private static String ours(KernelBench.Result result, double ratio) {
    return String.format(
        Locale.ROOT,
        "%s %s: the vendor's library; our own kernel has %.2fx its rate",
        result.op(),
        type(result),
        ratio);
  }

  private static String type(KernelBench.Result result) {
    return result.dtype().name().toLowerCase(Locale.ROOT);
  }

  /** For example 1.23 ms: three digits and the unit that fits. */
  static String time(double seconds) {
    if (seconds >= 1) {
      return digits(seconds) + " s";
    }
    return seconds >= 1e-3 ? digits(seconds * 1e3) + " ms" : digits(seconds * 1e6) + " us";
  }

  /** For example 152 GFLOP/s. */
  public static String rate(double perSecond, String unit) {
    return perSecond >= 1e12
        ? digits(perSecond * 1e-12) + " T" + unit
        : digits(perSecond * 1e-9) + " G" + unit;
  }

  private static String digits(double value) {
    return String.format(Locale.ROOT, value >= 99.95 ? "%.0f" : value >= 9.995 ? "%.1f" : "%.2f", value);
  }

  /**
   * Rows as a Markdown table, cells padded.
   *
   * @param rows the first is the head
   * @param words how many leading columns stand to the left; the others to the right
   */
  public static List<String> markdown(List<List<String>> rows, int words) {
    int columns = rows.get(0).size();
    int[] width = new int[columns];
    for (List<String> row : rows) {
      for (int i = 0; i < columns; i++) {
        width[i] = Math.max(width[i], row.get(i).length());
      }
    }
    List<String> lines = new ArrayList<>();
    for (List<String> row : rows) {
      StringBuilder line = new StringBuilder("|");
      for (int i = 0; i < columns; i++) {
        String pad = " ".repeat(width[i] - row.get(i).length());
        line.append(i < words ? " " + row.get(i) + pad : " " + pad + row.get(i)).append(" |");
      }
      lines.add(line.toString());
      if (lines.size() == 1) {
        StringBuilder rule = new StringBuilder("|");
        for (int i = 0; i < columns; i++) {
          rule.append("-".repeat(width[i] + 1)).append(i < words ? "-|" : ":|");
        }
        lines.add(rule.toString());
      }
    }
    return lines;
  }
}
