package dev.caravan.data.mix;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
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
      ordered("muffin", 30_000, "t0_sf", 20_000, "cot", 100_000, "niv2", 5_000);

  /** All of them. */
  public static final List<Preset> ALL =
      List.of(
          new Preset(
              "flan2022-a",
              "Chung et al. 2022 (arXiv 2210.11416), table 23, proportion A",
              ordered("muffin", 52, "t0_sf", 15, "cot", 3, "niv2", 30),
              FLAN_CAPS,
              NO_CAP),
          new Preset(
              "flan2022-b",
              "Chung et al. 2022 (arXiv 2210.11416), table 23, proportion B",
              ordered("muffin", 46.0, "t0_sf", 27.9, "cot", 1.8, "niv2", 24.2),
              FLAN_CAPS,
              NO_CAP),
          new Preset(
              "flan-collection",
              "google-research/FLAN, flan/v2/run_example.py and mixtures.py",
              ordered("flan2021", 0.40, "t0", 0.32, "cot", 0.05, "niv2", 0.20, "dialog", 0.03),
              ordered(
                  "flan2021",
                  30_000,
                  "t0",
                  20_000,
                  "cot",
                  100_000,
                  "niv2",
                  5_000,
                  "dialog",
                  200_000),
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
                  "common_crawl",
                  67.0,
                  "c4",
                  15.0,
                  "github",
                  4.5,
                  "wikipedia",
                  4.5,
                  "books",
                  4.5,
                  "arxiv",
                  2.5,
                  "stack_exchange",
                  2.0),
              Map.of(),
              NO_CAP),
          new Preset(
              "glam",
              "Du et al. 2021 (arXiv 2112.06905), table 1",
              ordered(
                  "filtered_webpages",
                  0.42,
                  "wikipedia",
                  0.06,
                  "conversations",
                  0.28,
                  "forums",
                  0.02,
                  "books",
                  0.20,
                  "news",
                  0.02),
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
   * @throws UserError naming the nearest known one
   */
  static Preset of(String name, String where) {
    return ALL.stream()
        .filter(preset -> preset.name.equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new UserError(
                    where
                        + ": "
                        + Nearest.unknown(
                            "preset", name, ALL.stream().map(Preset::name).toList())));
  }

  private static Map<String, Double> ordered(Object... namesAndWeights) {
    Map<String, Double> weights = new LinkedHashMap<>();
    for (int i = 0; i < namesAndWeights.length; i += 2) {
      weights.put((String) namesAndWeights[i], ((Number) namesAndWeights[i + 1]).doubleValue());
    }
    return weights;
  }
}
