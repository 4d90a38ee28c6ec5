package dev.caravan.study;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Lines over a horizontal axis of the logarithm of what it counts, as SVG, in the manner of papers'
 * scaling figures.
 */
final class LinePlot {
  /**
   * A line.
   *
   * @param name in the legend
   * @param colour number of its colour; lines of one family share it
   * @param dashed to tell members of a family apart
   * @param points from left to right, x at least 0
   */
  record Line(String name, int colour, boolean dashed, List<Point> points) {}

  /** A point. */
  record Point(double x, double y) {}

  private static final int WIDTH = 760;
  private static final int HEIGHT = 460;
  private static final int LEFT = 70;
  private static final int RIGHT = 220;
  private static final int TOP = 40;
  private static final int BOTTOM = 60;
  private static final int GRID = 5;
  private static final String[] COLOURS = {
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"
  };

  private final StringBuilder svg = new StringBuilder();
  private final List<Double> places;
  private final double least;
  private final double most;

  private LinePlot(List<Line> lines, double least, double most) {
    places =
        lines.stream().flatMap(l -> l.points.stream()).map(Point::x).distinct().sorted().toList();
    this.least = least;
    this.most = most;
  }

  /**
   * Draws.
   *
   * @param title one line
   * @param across what the horizontal axis counts
   * @param up what the vertical axis measures
   */
  static String svg(String title, String across, String up, List<Line> lines) {
    List<Double> heights = new ArrayList<>();
    lines.forEach(line -> line.points.forEach(point -> heights.add(point.y)));
    double low = heights.stream().min(Double::compare).orElse(0.0);
    double high = heights.stream().max(Double::compare).orElse(1.0);
    double margin = Math.max(1e-3, 0.08 * (high - low));
    // A share begins at zero where nothing is below.
    double least = low >= 0 && low - margin < 0 ? 0 : low - margin;
    LinePlot plot = new LinePlot(lines, least, high + margin);
    plot.frame(title, across, up);
    for (int i = 0; i < lines.size(); i++) {
      plot.line(lines.get(i), i);
    }
    return plot.svg.append("</svg>\n").toString();
  }

  private void put(String format, Object... values) {
    svg.append(String.format(Locale.ROOT, format, values)).append('\n');
  }

  /** Logarithmic; 0, which has no logarithm, stands as far left of 1 as 1/2 would. */
  private double x(double value) {
    double first = scale(places.isEmpty() ? 1 : places.get(0));
    double last = scale(places.isEmpty() ? 2 : places.get(places.size() - 1));
    double share = last == first ? 0.5 : (scale(value) - first) / (last - first);
    return LEFT + (WIDTH - LEFT - RIGHT) * share;
  }

  private static double scale(double value) {
    return value <= 0 ? -1 : Math.log(value) / Math.log(2);
  }

  private double y(double value) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - least) / (most - least);
  }

  private void frame(String title, String across, String up) {
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\"", WIDTH, HEIGHT);
    put("  font-family=\"sans-serif\" font-size=\"12\">");
    put("<rect width=\"%d\" height=\"%d\" fill=\"white\"/>", WIDTH, HEIGHT);
    put("<text x=\"%d\" y=\"22\" font-size=\"15\">%s</text>", LEFT, escape(title));
    put(
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>",
        (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 18, escape(across));
    put(
        "<text x=\"18\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 18 %d)\">%s</text>",
        HEIGHT / 2, HEIGHT / 2, escape(up));
    for (int i = 0; i <= GRID; i++) {
      double value = least + (most - least) * i / GRID;
      put(
          "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>",
          LEFT, y(value), WIDTH - RIGHT, y(value));
      put(
          "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>",
          LEFT - 6, y(value) + 4, number(value));
    }
    for (double place : places) {
      put(
          "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#ddd\"/>",
          x(place), TOP, x(place), HEIGHT - BOTTOM);
      put(
          "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>",
          x(place), HEIGHT - BOTTOM + 18, number(place));
    }
  }

  private void line(Line line, int number) {
    String colour = COLOURS[line.colour % COLOURS.length];
    String dash = line.dashed ? " stroke-dasharray=\"6 4\"" : "";
    StringBuilder points = new StringBuilder();
    for (Point point : line.points) {
      points.append(String.format(Locale.ROOT, "%.1f,%.1f ", x(point.x), y(point.y)));
    }
    put(
        "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"%s/>",
        points.toString().strip(), colour, dash);
    for (Point point : line.points) {
      put(
          "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>",
          x(point.x), y(point.y), colour);
    }
    int at = TOP + 10 + 20 * number;
    put(
        "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"%s/>",
        WIDTH - RIGHT + 16, at, WIDTH - RIGHT + 46, at, colour, dash);
    put("<text x=\"%d\" y=\"%d\">%s</text>", WIDTH - RIGHT + 52, at + 4, escape(line.name));
  }

  private static String number(double value) {
    if (value == Math.rint(value) && Math.abs(value) < 1e15) {
      return String.format(Locale.ROOT, "%,d", (long) value);
    }
    return String.format(Locale.ROOT, Math.abs(value) >= 10 ? "%.1f" : "%.3f", value);
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }
}
