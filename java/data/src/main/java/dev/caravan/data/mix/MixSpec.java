package dev.caravan.data.mix;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How a mixture weighs its parts.
 *
 * @param name unique in its mixture file
 * @param strategy where the weights come from
 * @param parts names of tasks and mixtures, with their weights where these are explicit, else 1
 * @param caps caps that a part's own tasks are drawn with, by the part's name, where the part is a
 *     group that says nothing itself
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
  public MixSpec {
    parts = new LinkedHashMap<>(parts);
    caps = Map.copyOf(caps);
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
