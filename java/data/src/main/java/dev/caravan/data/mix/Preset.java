package dev.caravan.data.mix;

import static java.util.Map.entry;

import dev.caravan.data.Nearest;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Published proportions by name.
 *
 * @param name as a mixture file writes it
 * @param source of the figures
 * @param rates weight of each part; empty where the parts are weighed by their sizes
 * @param caps largest weight of a task within each part, in mixtures within it too
 * @param cap largest weight of a task where the sizes weigh; infinite for none
 */
public record Preset(
    String name, String source, Map<String, Double> rates, Map<String, Double> caps, double cap) {
  private static final double NO_CAP = Double.POSITIVE_INFINITY;
  private static final Map<String, Double> FLAN_CAPS =
      ordered(
          entry("muffin", 30_000.0),
          entry("t0_sf", 20_000.0),
          entry("cot", 100_000.0),
          entry("niv2", 5_000.0));

  /** All of them. */
  public static final List<Preset> ALL =
      List.of(
          new Preset(
              "flan2022-a",
              "Chung et al. 2022 (arXiv 2210.11416), table 23, proportion A",
              ordered(
                  entry("muffin", 52.0),
                  entry("t0_sf", 15.0),
                  entry("cot", 3.0),
                  entry("niv2", 30.0)),
              FLAN_CAPS,
              NO_CAP),
          new Preset(
              "flan2022-b",
              "Chung et al. 2022 (arXiv 2210.11416), table 23, proportion B",
              ordered(
                  entry("muffin", 46.0),
                  entry("t0_sf", 27.9),
                  entry("cot", 1.8),
                  entry("niv2", 24.2)),
              FLAN_CAPS,
              NO_CAP),
          new Preset(
              "flan-collection",
              "google-research/FLAN, flan/v2/run_example.py and mixtures.py",
              ordered(
                  entry("flan2021", 0.40),
                  entry("t0", 0.32),
                  entry("cot", 0.05),
                  entry("niv2", 0.20),
                  entry("dialog", 0.03)),
              ordered(
                  entry("flan2021", 30_000.0),
                  entry("t0", 20_000.0),
                  entry("cot", 100_000.0),
                  entry("niv2", 5_000.0),
                  entry("dialog", 200_000.0)),
              NO_CAP),
          new Preset(
              "flan2021",
              "Wei et al. 2021 (arXiv 2109.01652): a rate maximum of 3,000, at most 30,000 rows a"
                  + " data set (rows: 30000 of a task)",
              Map.of(),
              Map.of(),
              3_000),
          new Preset(
              "llama",
              "Touvron et al. 2023 (arXiv 2302.13971), table 1",
              ordered(
                  entry("common_crawl", 67.0),
                  entry("c4", 15.0),
                  entry("github", 4.5),
                  entry("wikipedia", 4.5),
                  entry("books", 4.5),
                  entry("arxiv", 2.5),
                  entry("stack_exchange", 2.0)),
              Map.of(),
              NO_CAP),
          new Preset(
              "glam",
              "Du et al. 2021 (arXiv 2112.06905), table 1",
              ordered(
                  entry("filtered_webpages", 0.42),
                  entry("wikipedia", 0.06),
                  entry("conversations", 0.28),
                  entry("forums", 0.02),
                  entry("books", 0.20),
                  entry("news", 0.02)),
              Map.of(),
              NO_CAP));

  public Preset {
    rates = new LinkedHashMap<>(rates);
    caps = Map.copyOf(caps);
  }

  /**
   * The preset of that name.
   *
   * @param where for errors
   * @throws dev.caravan.data.UserError naming the nearest known one
   */
  static Preset of(String name, String where) {
    return Nearest.named(where + ": ", "preset", name, ALL, Preset::name);
  }

  @SafeVarargs
  private static Map<String, Double> ordered(Map.Entry<String, Double>... weights) {
    Map<String, Double> all = new LinkedHashMap<>();
    for (Map.Entry<String, Double> weight : weights) {
      all.put(weight.getKey(), weight.getValue());
    }
    return all;
  }
}
