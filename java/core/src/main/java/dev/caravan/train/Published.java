package dev.caravan.train;

import java.util.List;
import java.util.Optional;

/**
 * Speeds that others have reported, to hold a plan against.
 *
 * @param family of the model
 * @param size of it
 * @param machine it was trained on
 * @param tokensPerSecond of one GPU
 * @param devices how many GPUs there were; 0 where it is not told
 * @param source who says so
 */
public record Published(
    String family,
    String size,
    String machine,
    double tokensPerSecond,
    int devices,
    String source) {
  private static final List<Published> KNOWN =
      List.of(
          new Published(
              "llama", "65b", "a100-80", 380, 2048, "Touvron et al. 2023, arXiv 2302.13971, section 2.4"),
          new Published(
              "glam", "64b-64e", "tpu-v4", 280e9 / (574 * 3600) / 1024, 1024,
              "Du et al. 2022, arXiv 2112.06905, section 7: 280B tokens in 574 hours"),
          new Published(
              "palm", "540b", "tpu-v4", 238_300.0 / 6144, 6144,
              "Chowdhery et al. 2022, arXiv 2204.02311, section 4.1: 238.3K tokens/s"),
          new Published("llama", "7b", "h100", 9600, 96, "foundation-model-stack/fms-fsdp, README"),
          new Published("llama", "7b", "a100-80", 4550, 0, "foundation-model-stack/fms-fsdp, README"));

  /** What is known of a run's model on a machine. */
  static Optional<Published> of(RunConfig.Model model, Machine machine) {
    if (!(model instanceof RunConfig.ModelSize named)) {
      return Optional.empty();
    }
    return KNOWN.stream()
        .filter(
            known ->
                known.family.equals(named.family())
                    && known.size.equals(named.size())
                    && known.machine.equals(machine.name()))
        .findFirst();
  }
}
