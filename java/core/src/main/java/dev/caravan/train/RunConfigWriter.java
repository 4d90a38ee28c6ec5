package dev.caravan.train;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Writes a resolved run as a run file again, and compares two of them. What is written reads back
 * as the same {@link RunConfig}.
 */
public final class RunConfigWriter {
  private static final YAMLMapper YAML =
      YAMLMapper.builder()
          .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
          .disable(YAMLGenerator.Feature.SPLIT_LINES)
          .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES)
          .enable(YAMLGenerator.Feature.ALWAYS_QUOTE_NUMBERS_AS_STRINGS)
          .build();

  /** Keys that may change between a run and its continuation. */
  private static final Set<String> FREE =
      Set.of(
          "train.steps",
          "train.epochs",
          "data.cache",
          "parallel",
          "checkpoint.keep",
          "checkpoint.resume",
          "checkpoint.background",
          "eval",
          "output");

  private RunConfigWriter() {}

  /** The run as YAML, every key with its value. */
  public static String toYaml(RunConfig config) {
    try {
      return YAML.writeValueAsString(toTree(config));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * The first key in which two runs differ such that one cannot go on where the other stopped;
   * steps, epochs, the number of ranks, keep, resume, eval, the cache and the output folder itself may
   * differ.
   *
   * @return for example {@code optimizer.lr: 1.0E-4, was 2.0E-5}; empty where the runs agree
   */
  public static Optional<String> difference(RunConfig now, RunConfig before) {
    return difference("", toTree(now), toTree(before), FREE);
  }

  /** The first key in which two runs differ at all, but for where each keeps its tokens. */
  static Optional<String> anyDifference(RunConfig one, RunConfig other) {
    return difference("", toTree(one), toTree(other), Set.of("data.cache"));
  }

  /**
   * SHA-256, in hexadecimal, of everything that {@link #difference} compares: equal for a run and
   * its continuation.
   */
  public static String hash(RunConfig config) {
    ObjectNode tree = toTree(config);
    for (String key : FREE) {
      int dot = key.indexOf('.');
      if (dot < 0) {
        tree.remove(key);
      } else {
        ((ObjectNode) tree.get(key.substring(0, dot))).remove(key.substring(dot + 1));
      }
    }
    try {
      byte[] bytes = tree.toString().getBytes(StandardCharsets.UTF_8);
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Optional<String> difference(
      String key, JsonNode now, JsonNode before, Set<String> free) {
    if (free.contains(key) || now.equals(before)) {
      return Optional.empty();
    }
    if (!now.isObject() || !before.isObject()) {
      return Optional.of(key + ": " + show(now) + ", was " + show(before));
    }
    Set<String> names = new TreeSet<>();
    now.fieldNames().forEachRemaining(names::add);
    before.fieldNames().forEachRemaining(names::add);
    for (String name : names) {
      Optional<String> found =
          difference(key.isEmpty() ? name : key + "." + name, now.path(name), before.path(name), free);
      if (found.isPresent()) {
        return found;
      }
    }
    return Optional.empty();
  }

  private static String show(JsonNode value) {
    return value.isMissingNode()
        ? "not set"
        : value.isTextual() ? value.asText() : value.toString();
  }

  static ObjectNode toTree(RunConfig c) {
    ObjectNode root = JsonNodeFactory.instance.objectNode();
    model(root.putObject("model"), c.model());
    c.tokenizer().ifPresent(path -> root.put("tokenizer", path.toString()));
    data(root.putObject("data"), c.data());
    root.putObject("sequence")
        .put("length", c.sequence().length())
        .put("target_length", c.sequence().targetLength())
        .put("packing", c.sequence().packing());
    train(root.putObject("train"), c.train());
    optimizer(root.putObject("optimizer"), c.optimizer());
    ObjectNode experts = root.putObject("experts");
    experts.put("aux_loss", Fields.name(c.experts().auxLoss()));
    put(experts, "aux_weight", c.experts().auxWeight());
    experts.put("z_weight", c.experts().zWeight());
    put(experts, "capacity_factor", c.experts().capacityFactor());
    experts.put("group_size", c.experts().groupSize());
    experts.put("second_expert", Fields.name(c.experts().secondExpert()));
    if (c.experts().secondExpert() != RunConfig.SecondExpert.ALL) {
      experts.put("second_threshold", c.experts().secondThreshold());
    }
    root.put("precision", Fields.name(c.precision()));
    root.put("recompute", Fields.name(c.recompute()));
    root.putObject("parallel")
        .put("data", c.parallel().data())
        .put("shard", Fields.name(c.parallel().shard()))
        .put("tensor", c.parallel().tensor())
        .put("expert", c.parallel().expert())
        .put("expert_exchange", Fields.name(c.parallel().expertExchange()));
    ObjectNode checkpoint = root.putObject("checkpoint");
    checkpoint
        .put("every_steps", c.checkpoint().everySteps())
        .put("keep", c.checkpoint().keep())
        .put(
            "resume",
            c.checkpoint()
                .from()
                .map(Object::toString)
                .orElse(Fields.name(c.checkpoint().resume())));
    c.checkpoint()
        .background()
        .ifPresentOrElse(
            answer -> checkpoint.put("background", answer), () -> checkpoint.put("background", "auto"));
    ObjectNode eval = root.putObject("eval");
    c.eval().data().ifPresent(path -> eval.put("data", path.toString()));
    eval.put("every_steps", c.eval().everySteps());
    if (!c.eval().exactMatch().isEmpty()) {
      ObjectNode sets = eval.putObject("exact_match");
      c.eval().exactMatch().forEach((name, file) -> sets.put(name, file.toString()));
    }
    if (c.eval().asks()) {
      eval.put("exact_match_at_checkpoints", c.eval().exactMatchAtCheckpoints());
    }
    if (c.eval().heldOutRows() > 0) {
      eval.put("held_out_rows", c.eval().heldOutRows());
      eval.put("exact_match_held_out", c.eval().exactMatchHeldOut());
    }
    if (!c.eval().tasks().isEmpty()) {
      ObjectNode tasks = eval.putObject("tasks");
      c.eval().tasks().forEach((name, file) -> tasks.put(name, file.toString()));
    }
    root.put("output", c.output().toString());
    root.put("deterministic", c.deterministic());
    return root;
  }

  private static void model(ObjectNode out, RunConfig.Model model) {
    if (model instanceof RunConfig.ModelFolder folder) {
      out.put("path", folder.path().toString());
    } else if (model instanceof RunConfig.ModelConfig config) {
      out.set("config", config.config().json());
      out.put("seed", config.seed());
    } else if (model instanceof RunConfig.ModelSize size) {
      out.put("family", size.family()).put("size", size.size()).put("seed", size.seed());
    }
  }

  private static void data(ObjectNode out, RunConfig.Data data) {
    if (!data.paths().isEmpty()) {
      ArrayNode paths = out.putArray("path");
      data.paths().forEach(paths::add);
    }
    out.put("format", Fields.name(data.format()));
    ObjectNode fields = out.putObject("fields");
    new TreeMap<>(data.fields()).forEach(fields::put);
    data.template().ifPresent(template -> out.put("template", template));
    data.mixture().ifPresent(path -> out.put("mixture", path.toString()));
    if (!data.tasks().isEmpty()) {
      ArrayNode tasks = out.putArray("tasks");
      data.tasks().forEach(tasks::add);
    }
    out.put("drop_copies", Fields.name(data.dropCopies()));
    out.put("cache", data.cache());
  }

  private static void train(ObjectNode out, RunConfig.Train train) {
    put(out, "steps", train.steps());
    put(out, "epochs", train.epochs());
    put(out, "tokens_per_step", train.tokensPerStep());
    put(out, "examples_per_step", train.examplesPerStep());
    put(out, "micro_batch_tokens", train.microBatchTokens());
    out.put("seed", train.seed()).put("shuffle", train.shuffle());
  }

  private static void optimizer(ObjectNode out, RunConfig.Optimizer o) {
    out.put("name", Fields.name(o.name())).put("lr", o.lr());
    out.putArray("betas").add(o.beta1()).add(o.beta2());
    out.put("eps", o.eps())
        .put("weight_decay", o.weightDecay())
        .put("clip_norm", o.clipNorm())
        .put("schedule", Fields.name(o.schedule()))
        .put("warmup_steps", o.warmupSteps())
        .put("final_lr_ratio", o.finalLrRatio())
        .put("moments", Fields.name(o.moments()))
        .put("grads", Fields.name(o.grads()));
    out.putObject("adafactor")
        .put("beta1", o.adafactor().beta1())
        .put("decay_rate", o.adafactor().decayRate())
        .put("clip_threshold", o.adafactor().clipThreshold())
        .put("scale_parameter", o.adafactor().scaleParameter())
        .put("factored", o.adafactor().factored());
  }

  private static void put(ObjectNode out, String key, OptionalInt value) {
    value.ifPresent(number -> out.put(key, number));
  }

  private static void put(ObjectNode out, String key, OptionalDouble value) {
    value.ifPresent(number -> out.put(key, number));
  }
}
