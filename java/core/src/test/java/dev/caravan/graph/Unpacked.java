package dev.caravan.graph;

import java.util.Arrays;

/** Takes documents out of a packed buffer. */
final class Unpacked {
  private Unpacked() {}

  /** Inputs of a buffer of the same size that holds one document alone, at its beginning. */
  static Values document(Values packed, double[] starts, int document) {
    int first = (int) starts[document];
    int end = (int) starts[document + 1];
    Values one = packed.copy();
    one.set("ids", moved(packed.get("ids"), first, end));
    one.set("positions", moved(packed.get("positions"), first, end));
    double[] bounds = new double[starts.length];
    Arrays.fill(bounds, 1, bounds.length, end - first);
    one.set("documents", bounds);
    one.set("tokens", end - first);
    double[] rows = packed.get("target_rows");
    double[] ids = packed.get("target_ids");
    double[] ownRows = new double[rows.length];
    double[] ownIds = new double[rows.length];
    int targets = 0;
    for (int i = 0; i < (int) packed.get("targets")[0]; i++) {
      if (rows[i] >= first && rows[i] < end) {
        ownRows[targets] = rows[i] - first;
        ownIds[targets++] = ids[i];
      }
    }
    one.set("target_rows", ownRows);
    one.set("target_ids", ownIds);
    return one.set("targets", targets);
  }

  private static double[] moved(double[] rows, int first, int end) {
    return Arrays.copyOf(Arrays.copyOfRange(rows, first, end), rows.length);
  }
}
