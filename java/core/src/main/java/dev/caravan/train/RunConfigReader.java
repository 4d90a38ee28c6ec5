package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import dev.caravan.data.source.Format;
import dev.caravan.model.HfConfig;
import dev.caravan.model.ModelShape;
import dev.caravan.model.ModelSizes;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;

/** Turns the tree of a run file into a {@link RunConfig}: types, ranges, rules and defaults. */
final class RunConfigReader {
  private static final double MAX = Double.MAX_VALUE;
  private static final List<String> SECTIONS =
      List.of(
          "model",
          "tokenizer",
          "data",
          "sequence",
          "train",
          "optimizer",
          "experts",
          "precision",
          "recompute",
          "parallel",
          "checkpoint",
          "eval",
          "output",
          "deterministic");

  private RunConfigReader() {}

  static RunConfig read(ObjectNode tree, String name) {
    Fields top = Fields.of(tree, "", SECTIONS);
    RunConfig.Sequence sequence = sequence(top);
    RunConfig config = config(top, sequence, name);
    ExpertSettings.checkExchange(config);
    return config;
  }

  private static RunConfig config(Fields top, RunConfig.Sequence sequence, String name) {
    return new RunConfig(
        model(top),
        path(top, "tokenizer"),
        data(top),
        sequence,
        train(top, sequence),
        optimizer(top),
        experts(top),
        top.oneOf("precision", RunConfig.Precision.AUTO),
        top.oneOf("recompute", RunConfig.Recompute.AUTO),
        parallel(top),
        checkpoint(top),
        eval(top),
        Cwd.resolve(top.text("output", "runs/" + name)),
        top.bool("deterministic", true));
  }

  private static RunConfig.Model model(Fields top) {
    Fields f = top.map("model", "path", "config", "family", "size", "seed");
    f.atMostOneOf("path", "config", "family");
    long seed = f.longInteger("seed", 0, 0);
    if (f.has("size") != f.has("family")) {
      throw new UserError("model.family and model.size: one is given without the other");
    }
    if (f.has("path")) {
      if (f.has("seed")) {
        throw new UserError("model.seed: given with model.path, whose weights are not random");
      }
      return new RunConfig.ModelFolder(Cwd.resolve(f.text("path", "")));
    }
    if (f.has("config")) {
      JsonNode config = f.raw("config");
      HfConfig hf =
          config.isObject()
              ? HfConfig.of(Fields.withNumbers(config), "model.config")
              : HfConfig.read(Cwd.resolve(f.text("config", "")));
      return new RunConfig.ModelConfig(hf, seed);
    }
    if (f.has("family")) {
      String family = f.text("family", "");
      String size = f.text("size", "");
      if (ModelShape.of(family, size).isEmpty()) {
        ModelSizes.config(family, size);
      }
      return new RunConfig.ModelSize(family, size, seed);
    }
    throw new UserError("model: missing, needs one of path, config and family with size");
  }

  private static Optional<Path> path(Fields f, String key) {
    return f.has(key) ? Optional.of(Cwd.resolve(f.text(key, ""))) : Optional.empty();
  }

  private static RunConfig.Data data(Fields top) {
    Fields f =
        top.map(
            "data",
            "path",
            "format",
            "fields",
            "template",
            "mixture",
            "drop_copies",
            "tasks",
            "cache");
    f.atMostOneOf("path", "mixture");
    Map<String, String> fields = f.textMap("fields", "a map from the format's field to the file's");
    boolean ownWords = f.has("template") || !fields.isEmpty();
    if (f.has("mixture") && (ownWords || f.oneOf("format", Format.AUTO) != Format.AUTO)) {
      throw new UserError(
          "data.format, fields, template: given with data.mixture, whose tasks have their own");
    }
    if (f.has("tasks") && !f.has("mixture")) {
      throw new UserError("data.tasks: given without data.mixture, whose tasks it names");
    }
    return new RunConfig.Data(
        f.texts("path").stream().map(Cwd::resolvePattern).toList(),
        f.oneOf("format", Format.AUTO),
        Map.copyOf(fields),
        f.has("template") ? Optional.of(f.text("template", "")) : Optional.empty(),
        path(f, "mixture"),
        f.oneOf("drop_copies", RunConfig.DropCopies.NONE),
        f.texts("tasks"),
        cache(f.text("cache", RunConfig.Data.CACHE_AUTO)));
  }

  private static String cache(String named) {
    boolean word =
        named.equals(RunConfig.Data.CACHE_AUTO) || named.equals(RunConfig.Data.CACHE_NONE);
    return word ? named : Cwd.resolve(named).toString();
  }

  private static RunConfig.Sequence sequence(Fields top) {
    Fields f = top.map("sequence", "length", "target_length", "packing");
    return new RunConfig.Sequence(
        f.integer("length", 2, 1024), f.integer("target_length", 1, 256), f.bool("packing", true));
  }

  private static RunConfig.Train train(Fields top, RunConfig.Sequence sequence) {
    Fields f =
        top.map(
            "train",
            "steps",
            "epochs",
            "tokens_per_step",
            "examples_per_step",
            "micro_batch_tokens",
            "seed",
            "shuffle");
    f.atMostOneOf("steps", "epochs");
    f.atMostOneOf("tokens_per_step", "examples_per_step");
    OptionalInt tokens = f.integer("tokens_per_step", 1);
    OptionalInt microBatch = f.integer("micro_batch_tokens", 1);
    if (microBatch.isPresent() && microBatch.getAsInt() < sequence.length()) {
      throw f.wrong("micro_batch_tokens", "at least sequence.length " + sequence.length());
    }
    boolean neitherSize = !f.has("tokens_per_step") && !f.has("examples_per_step");
    return new RunConfig.Train(
        f.integer("steps", 1),
        f.has("steps") ? OptionalInt.empty() : OptionalInt.of(f.integer("epochs", 1, 1)),
        neitherSize ? OptionalInt.of(Math.multiplyExact(16, sequence.length())) : tokens,
        f.integer("examples_per_step", 1),
        microBatch,
        f.longInteger("seed", 0, 17),
        f.bool("shuffle", true));
  }

  private static RunConfig.Optimizer optimizer(Fields top) {
    Fields f =
        top.map(
            "optimizer",
            "name",
            "lr",
            "betas",
            "eps",
            "weight_decay",
            "clip_norm",
            "schedule",
            "warmup_steps",
            "final_lr_ratio",
            "moments",
            "grads",
            "adafactor");
    Fields a =
        f.map("adafactor", "beta1", "decay_rate", "clip_threshold", "scale_parameter", "factored");
    double[] betas = f.numbers("betas", 0, 1, 0.9, 0.95);
    RunConfig.Storage grads = f.oneOf("grads", RunConfig.Storage.FP32);
    if (grads != RunConfig.Storage.FP32) {
      throw f.notBuilt("grads");
    }
    return new RunConfig.Optimizer(
        f.oneOf("name", RunConfig.OptimizerName.ADAMW),
        f.number("lr", 0, MAX, 2e-5),
        betas[0],
        betas[1],
        f.positive("eps", 1e-8),
        f.number("weight_decay", 0, MAX, 0.1),
        f.number("clip_norm", 0, MAX, 1.0),
        f.oneOf("schedule", RunConfig.Schedule.CONSTANT),
        f.integer("warmup_steps", 0, 0),
        f.number("final_lr_ratio", 0, 1, 0.1),
        f.oneOf("moments", RunConfig.Storage.FP32),
        grads,
        new RunConfig.Adafactor(
            a.number("beta1", 0, Math.nextDown(1.0), 0),
            a.positive("decay_rate", 0.8),
            a.positive("clip_threshold", 1.0),
            a.bool("scale_parameter", false),
            a.bool("factored", true)));
  }

  private static RunConfig.Experts experts(Fields top) {
    Fields f =
        top.map(
            "experts", "aux_loss", "aux_weight", "z_weight", "capacity_factor", "group_size",
            "second_expert", "second_threshold");
    JsonNode capacity = f.raw("capacity_factor");
    boolean dropless = capacity == null || capacity.asText().equals("none");
    RunConfig.Experts experts =
        new RunConfig.Experts(
            f.oneOf("aux_loss", RunConfig.AuxLoss.AUTO),
            f.number("aux_weight", 0, MAX),
            f.number("z_weight", 0, MAX, 0),
            dropless
                ? OptionalDouble.empty()
                : OptionalDouble.of(f.positive("capacity_factor", 1)),
            f.integer("group_size", 0, 0),
            f.oneOf("second_expert", RunConfig.SecondExpert.ALL),
            f.number("second_threshold", 0, MAX, 0.5));
    if (experts.groupSize() > 0 && dropless) {
      throw f.wrong("group_size", "a capacity_factor beside it");
    }
    if (f.has("second_threshold") && experts.secondExpert() == RunConfig.SecondExpert.ALL) {
      throw f.wrong("second_threshold", "second_expert of threshold or random beside it");
    }
    return experts;
  }

  private static RunConfig.Parallel parallel(Fields top) {
    Fields f = top.map("parallel", "data", "shard", "tensor", "expert", "expert_exchange");
    RunConfig.Parallel parallel =
        new RunConfig.Parallel(
            f.integer("data", 1, 1),
            f.oneOf("shard", RunConfig.Shard.NONE),
            f.integer("tensor", 1, 1),
            f.integer("expert", 1, 1),
            f.oneOf("expert_exchange", RunConfig.ExpertExchange.GATHER));
    return parallel;
  }

  private static RunConfig.Checkpoint checkpoint(Fields top) {
    Fields f = top.map("checkpoint", "every_steps", "keep", "resume", "background");
    String resume = f.text("resume", "auto");
    boolean word = resume.equals("auto") || resume.equals("never");
    return new RunConfig.Checkpoint(
        f.integer("every_steps", 1, 500),
        f.integer("keep", 1, 2),
        resume.equals("auto")
            ? RunConfig.Resume.AUTO
            : word ? RunConfig.Resume.NEVER : RunConfig.Resume.FOLDER,
        word ? Optional.empty() : Optional.of(Cwd.resolve(resume)),
        f.boolOrAuto("background"));
  }

  private static RunConfig.Eval eval(Fields top) {
    Fields f = top.map(
            "eval", "data", "every_steps", "exact_match", "exact_match_at_checkpoints", "tasks",
            "held_out_rows", "exact_match_held_out");
    Map<String, Path> exactMatch = new LinkedHashMap<>();
    f.textMap("exact_match", "a map from a set's name to its file")
        .forEach((name, file) -> exactMatch.put(name, Cwd.resolve(file)));
    Map<String, Path> tasks = new LinkedHashMap<>();
    f.textMap("tasks", "a map from a task's name to its file")
        .forEach((name, file) -> tasks.put(name, Cwd.resolve(file)));
    boolean atCheckpoints = f.bool("exact_match_at_checkpoints", false);
    int heldOutRows = f.integer("held_out_rows", 0, 0);
    boolean heldOutAsked = f.bool("exact_match_held_out", false);
    if (heldOutAsked && heldOutRows == 0) {
      throw new UserError("eval.exact_match_held_out: true, but eval.held_out_rows is 0");
    }
    if (atCheckpoints && exactMatch.isEmpty() && !heldOutAsked) {
      throw new UserError("eval.exact_match_at_checkpoints: true, but eval.exact_match names no set");
    }
    return new RunConfig.Eval(
        path(f, "data"),
        f.integer("every_steps", 1, 100),
        exactMatch,
        atCheckpoints,
        tasks,
        heldOutRows,
        heldOutAsked);
  }
}
