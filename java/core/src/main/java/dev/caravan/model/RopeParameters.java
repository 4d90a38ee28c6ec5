package dev.caravan.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.util.OptionalDouble;

/**
 * The rotary part of a Hugging Face config, in either spelling: {@code rope_scaling} with {@code
 * rope_theta} beside it (transformers 4), or both inside {@code rope_parameters} (transformers 5).
 * Where both are there, rope_scaling wins, as in transformers.
 */
record RopeParameters(double theta, RopeScaling scaling) {
  private static final double DEFAULT_THETA = 10_000;

  static RopeParameters read(JsonNode config, int maxPosition, String where) {
    JsonFields top = new JsonFields(config, where);
    String key = hasContent(config, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    JsonNode node =
        hasContent(config, key) ? config.get(key) : JsonNodeFactory.instance.objectNode();
    if (!node.isObject()) {
      throw top.wrong(key, "an object");
    }
    for (JsonNode value : node) {
      if (value.isObject()) {
        throw new UserError(
            where + key + ": one set of values for each type of layer is not built yet");
      }
    }
    JsonFields fields = new JsonFields(node, where + key + ".");
    double theta = fields.positive("rope_theta", top.positive("rope_theta", DEFAULT_THETA));
    double rotated =
        fields.positive("partial_rotary_factor", top.positive("partial_rotary_factor", 1));
    if (rotated != 1) {
      throw new UserError(where + "partial_rotary_factor: got " + rotated + ", only 1 is built");
    }
    String type = fields.text("rope_type", fields.text("type", "default"));
    int original =
        top.integer(
            "original_max_position_embeddings",
            1,
            fields.integer("original_max_position_embeddings", 1, maxPosition));
    return new RopeParameters(theta, scaling(type, fields, original, maxPosition, where + key));
  }

  private static RopeScaling scaling(
      String type, JsonFields fields, int original, int maxPosition, String where) {
    switch (type) {
      case "default":
        return new RopeScaling.None();
      case "linear":
        return new RopeScaling.Linear(factor(fields, where));
      case "dynamic":
        return new RopeScaling.DynamicNtk(factor(fields, where));
      case "yarn":
        double factor =
            fields.has("factor") ? factor(fields, where) : (double) maxPosition / original;
        return new RopeScaling.Yarn(
            factor,
            original,
            fields.positive("beta_fast", 32),
            fields.positive("beta_slow", 1),
            fields.has("attention_factor")
                ? OptionalDouble.of(fields.positive("attention_factor"))
                : OptionalDouble.empty(),
            fields.positive("mscale", 0),
            fields.positive("mscale_all_dim", 0),
            fields.bool("truncate", true));
      case "llama3":
        double low = fields.positive("low_freq_factor");
        double high = fields.positive("high_freq_factor");
        if (high <= low) {
          throw new UserError(
              where
                  + ".high_freq_factor: got "
                  + high
                  + ", needs more than low_freq_factor "
                  + low);
        }
        return new RopeScaling.Llama3(factor(fields, where), low, high, original);
      default:
        throw new UserError(
            where
                + ".rope_type: '"
                + type
                + "' is not built; known: default, linear, dynamic, yarn, llama3");
    }
  }

  private static double factor(JsonFields fields, String where) {
    double factor = fields.positive("factor");
    if (factor < 1) {
      throw new UserError(where + ".factor: got " + factor + ", needs a number of at least 1");
    }
    return factor;
  }

  private static boolean hasContent(JsonNode config, String key) {
    return config.hasNonNull(key) && !(config.get(key).isObject() && config.get(key).isEmpty());
  }

  /** The object that transformers 5 calls rope_parameters, theta included. */
  ObjectNode toJson() {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("rope_type", scaling.typeName());
    node.put("rope_theta", theta);
    if (scaling instanceof RopeScaling.Linear linear) {
      node.put("factor", linear.factor());
    } else if (scaling instanceof RopeScaling.DynamicNtk dynamic) {
      node.put("factor", dynamic.factor());
    } else if (scaling instanceof RopeScaling.Yarn yarn) {
      node.put("factor", yarn.factor());
      node.put("original_max_position_embeddings", yarn.originalMaxPosition());
      node.put("beta_fast", yarn.betaFast());
      node.put("beta_slow", yarn.betaSlow());
      yarn.attentionFactor().ifPresent(value -> node.put("attention_factor", value));
      if (yarn.mscale() != 0) {
        node.put("mscale", yarn.mscale());
      }
      if (yarn.mscaleAllDim() != 0) {
        node.put("mscale_all_dim", yarn.mscaleAllDim());
      }
      node.put("truncate", yarn.truncate());
    } else if (scaling instanceof RopeScaling.Llama3 llama3) {
      node.put("factor", llama3.factor());
      node.put("low_freq_factor", llama3.lowFreqFactor());
      node.put("high_freq_factor", llama3.highFreqFactor());
      node.put("original_max_position_embeddings", llama3.originalMaxPosition());
    }
    return node;
  }
}
