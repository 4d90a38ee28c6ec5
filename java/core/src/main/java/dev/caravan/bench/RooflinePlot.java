package dev.caravan.bench;

import dev.caravan.kernels.DType;
import java.util.List;
import java.util.Locale;

/** The roofline of a device with a point for each op, as SVG: FLOP/s over FLOPs per byte, both in powers of ten. */
public final class RooflinePlot {
  private static final int WIDTH = 860;
  private static final int HEIGHT = 560;
  private static final int LEFT = 80;
  private static final int RIGHT = 30;
  private static final int TOP = 40;
  private static final int BOTTOM = 60;
  private static final double LEAST_INTENSITY = 1e-2;
  private static final double MOST_INTENSITY = 1e4;

  private final StringBuilder svg = new StringBuilder();
  private final double most;
  private final double least;

  private RooflinePlot(Roof roof, DType dtype) {
    double top = roof.productFlopsPerSecond().getOrDefault(dtype, roof.copyBytesPerSecond() * 100);
    most = Math.pow(10, Math.ceil(Math.log10(top) + 0.1));
    least = most * 1e-6;
  }

  /**
   * Draws.
   *
   * @param title one line
   * @param results all of one storage type; those without a time or without FLOPs are left out
   */
  public static String svg(String title, List<KernelBench.Result> results, Roof roof, DType dtype) {
    RooflinePlot plot = new RooflinePlot(roof, dtype);
    plot.frame(title);
    plot.roof(roof, dtype);
    results.stream()
        .filter(r -> r.dtype() == dtype && r.seconds().isPresent() && r.cost().flops() > 0)
        .forEach(plot::point);
    return plot.svg.append("</svg>\n").toString();
  }

  private void put(String format, Object... values) {
    svg.append(String.format(Locale.ROOT, format, values)).append('\n');
  }

  private static double share(double value, double least, double most) {
    double part = Math.log(value / least) / Math.log(most / least);
    return Math.max(0, Math.min(1, part));
  }

  private double x(double intensity) {
    return LEFT + (WIDTH - LEFT - RIGHT) * share(intensity, LEAST_INTENSITY, MOST_INTENSITY);
  }

  private double y(double flops) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share(flops, least, most);
  }

  private void frame(String title) {
    put("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\"", WIDTH, HEIGHT);
    put("  font-family=\"sans-serif\" font-size=\"12\">");
    put("<rect width=\"%d\" height=\"%d\" fill=\"white\"/>", WIDTH, HEIGHT);
    put("<text x=\"%d\" y=\"22\" font-size=\"15\">%s</text>", LEFT, escape(title));
    put("<text x=\"%d\" y=\"%d\">FLOPs per byte</text>", WIDTH / 2 - 40, HEIGHT - 18);
    put("<text x=\"14\" y=\"%d\" transform=\"rotate(-90 18 %d)\">GFLOP/s</text>", HEIGHT / 2, HEIGHT / 2);
    for (double v = LEAST_INTENSITY; v <= MOST_INTENSITY * 1.01; v *= 10) {
      line(v, least, v, most, "#ddd", 1);
      put("<text x=\"%.1f\" y=\"%d\">%s</text>", x(v) - 8, HEIGHT - BOTTOM + 18, number(v));
    }
    for (double v = least; v <= most * 1.01; v *= 10) {
      line(LEAST_INTENSITY, v, MOST_INTENSITY, v, "#ddd", 1);
      put("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", LEFT - 6, y(v) + 4, number(v * 1e-9));
    }
  }

  private void roof(Roof roof, DType dtype) {
    double copy = roof.copyBytesPerSecond();
    double product = Math.min(roof.flopsPerSecond(dtype), copy * MOST_INTENSITY);
    double ridge = product / copy;
    double start = Math.max(LEAST_INTENSITY, least / copy);
    line(start, copy * start, ridge, product, "#333", 2);
    line(ridge, product, MOST_INTENSITY, product, "#333", 2);
  }

  private void line(double x1, double y1, double x2, double y2, String colour, int width) {
    put(
        "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%d\"/>",
        x(x1), y(y1), x(x2), y(y2), colour, width);
  }

  private void point(KernelBench.Result result) {
    Cost cost = result.cost();
    double x = x(cost.flops() / cost.bytes());
    double y = y(cost.flops() / result.seconds().orElseThrow());
    put("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#06c\"/>", x, y);
    put("<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\">%s</text>", x + 6, y + 3, escape(result.op()));
  }

  private static String number(double value) {
    return value >= 1 ? String.format(Locale.ROOT, "%.0f", value) : Double.toString(value);
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }
}
