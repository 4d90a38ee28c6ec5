package dev.caravan.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.TreeMap;

/**
 * Where a run stands: what a checkpoint holds besides tensors. With the weights and the optimizer's
 * state it decides every later bit of the run.
 *
 * @param step optimizer steps done
 * @param nextExample first example of the next step, as an index into the endless shuffled order
 * @param optimizerStep updates that the optimizer counts for its bias correction
 * @param seed of shuffling and mixing
 * @param microBatchTokens size of the buffers, which decides in what order gradients are added
 * @param counts running totals by name, for example target_tokens
 * @param configHash of the resolved run without the keys that may change
 * @param abiVersion of the kernels that made it
 * @param device that made it, for example cpu
 * @param threads that made it
 * @param products what was chosen for matrix products and decides their last bits, by name; may be
 *     empty
 */
public record TrainerState(
    int step,
    long nextExample,
    long optimizerStep,
    long seed,
    int microBatchTokens,
    Map<String, Long> counts,
    String configHash,
    int abiVersion,
    String device,
    int threads,
    Map<String, String> products) {

  /** Copies the maps. */
  public TrainerState {
    counts = Map.copyOf(counts);
    products = Map.copyOf(products);
  }

  ObjectNode toJson() {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.put("step", step);
    json.put("next_example", nextExample);
    json.put("optimizer_step", optimizerStep);
    json.put("seed", seed);
    json.put("micro_batch_tokens", microBatchTokens);
    ObjectNode totals = json.putObject("counts");
    new TreeMap<>(counts).forEach(totals::put);
    json.put("config_hash", configHash);
    json.put("abi_version", abiVersion);
    json.put("device", device);
    json.put("threads", threads);
    if (!products.isEmpty()) {
      new TreeMap<>(products).forEach(json.putObject("products")::put);
    }
    return json;
  }

  static TrainerState fromJson(JsonNode json) {
    Map<String, Long> counts = new TreeMap<>();
    json.path("counts").properties().forEach(e -> counts.put(e.getKey(), e.getValue().asLong()));
    Map<String, String> products = new TreeMap<>();
    json.path("products").properties().forEach(e -> products.put(e.getKey(), e.getValue().asText()));
    return new TrainerState(
        json.path("step").asInt(),
        json.path("next_example").asLong(),
        json.path("optimizer_step").asLong(),
        json.path("seed").asLong(),
        json.path("micro_batch_tokens").asInt(),
        counts,
        json.path("config_hash").asText(),
        json.path("abi_version").asInt(),
        json.path("device").asText(),
        json.path("threads").asInt(),
        products);
  }
}
