package dev.caravan.study;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;

/** Lines of a plot whose points are means, over seeds say; lines come in the order of their first values. */
final class MeanLines {
  private final Map<String, TreeMap<Double, List<Double>>> values = new LinkedHashMap<>();

  /** A value of a line at a place, one of those whose mean the point is. */
  void add(String line, double x, double y) {
    values
        .computeIfAbsent(line, its -> new TreeMap<>())
        .computeIfAbsent(x, its -> new ArrayList<>())
        .add(y);
  }

  /**
   * The lines.
   *
   * @param colour number of a line's colour, by its name
   * @param dashed whether a line is dashed
   */
  List<LinePlot.Line> lines(ToIntFunction<String> colour, Predicate<String> dashed) {
    List<LinePlot.Line> lines = new ArrayList<>();
    values.forEach(
        (name, places) -> {
          List<LinePlot.Point> points = new ArrayList<>();
          places.forEach((x, ys) -> points.add(new LinePlot.Point(x, mean(ys))));
          lines.add(
              new LinePlot.Line(name, colour.applyAsInt(name), dashed.test(name), points));
        });
    return lines;
  }

  private static double mean(List<Double> values) {
    return values.stream().mapToDouble(v -> v).average().orElseThrow();
  }
}
