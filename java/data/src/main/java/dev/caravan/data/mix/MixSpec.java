package dev.caravan.data.mix;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How a mixture weighs its parts.
 *
 * @param name unique in its mixture file
 * @param strategy where the weights come from
 * @param parts names of tasks and mixtures, with their weights where these are explicit, else 1
 * @param caps largest weights of the tasks below a part, however deep, by the part's name, where
 *     tasks are weighed by their sizes
 * @param scale factor of sizes
 * @param cap largest weight of a part, taken before the temperature; infinite for none
 * @param temperature exponent 1 / temperature of the weights
 */
public record MixSpec(
    String name,
    Strategy strategy,
    Map<String, Double> parts,
    Map<String, Double> caps,
    double scale,
    double cap,
    double temperature) {
  private static final double NO_CAP = Double.POSITIVE_INFINITY;

  /** The mixture of a file that names none. */
  static final String ALL = "all tasks";

  public MixSpec {
    parts = new LinkedHashMap<>(parts);
    caps = Map.copyOf(caps);
  }

  /**
   * Parts by their sizes: min(rows, cap)^(1 / temperature).
   *
   * @param cap above 0; infinite for none
   * @param temperature above 0; 1 for none
   */
  public static MixSpec proportional(
      String name, List<String> parts, double cap, double temperature) {
    return new MixSpec(name, Strategy.PROPORTIONAL, ones(parts), Map.of(), 1, cap, temperature);
  }

  /** Parts alike. */
  public static MixSpec equal(String name, List<String> parts) {
    return new MixSpec(name, Strategy.EQUAL, ones(parts), Map.of(), 1, NO_CAP, 1);
  }

  /** Parts at given rates, which need not add up to 1. */
  public static MixSpec rates(String name, Map<String, Double> rates) {
    return new MixSpec(name, Strategy.EXPLICIT, rates, Map.of(), 1, NO_CAP, 1);
  }

  private static Map<String, Double> ones(List<String> parts) {
    Map<String, Double> weights = new LinkedHashMap<>();
    parts.forEach(part -> weights.put(part, 1.0));
    return weights;
  }

  /** Where the weights of parts come from. */
  public enum Strategy {
    /** From their sizes, scale, cap and temperature. */
    PROPORTIONAL,
    /** All alike. */
    EQUAL,
    /** From the file. */
    EXPLICIT
  }
}
