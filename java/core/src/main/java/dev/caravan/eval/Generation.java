package dev.caravan.eval;

import dev.caravan.data.UserError;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.model.DecoderConfig;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunPlan;
import java.nio.FloatBuffer;
import java.util.Set;
import java.util.function.IntConsumer;

/** Continues a prompt with a model. */
public final class Generation {
  private Generation() {}

  /**
   * Generates until a stop token, the number of tokens that is wanted, or the end of the model's
   * context.
   *
   * @param prompt token ids, at least one
   * @param maxNewTokens how many tokens at most
   * @param sampler chooses each token
   * @param stopIds tokens that end the continuation and are not part of it
   * @param choice where
   * @param to gets each token as it is chosen
   * @throws UserError if the prompt does not fit the model
   */
  public static void run(
      ModelSource model,
      int[] prompt,
      int maxNewTokens,
      Sampler sampler,
      Set<Integer> stopIds,
      DeviceChoice choice,
      IntConsumer to) {
    DecoderConfig config = model.config();
    check(prompt, config);
    int length = (int) Math.min((long) prompt.length + maxNewTokens, config.maxPosition());
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    DType storage = RunPlan.storage(RunConfig.Precision.AUTO, choice.device().kind());
    try (Stream stream = Stream.open(choice.device(), choice.threads());
        Generator generator = new Generator(model, length, storage, stream)) {
      FloatBuffer logits = generator.append(prompt);
      for (int made = prompt.length; made < length; made++) {
        int token = sampler.next(logits);
        if (stopIds.contains(token)) {
          return;
        }
        to.accept(token);
        if (made + 1 < length) {
          logits = generator.append(token);
        }
      }
    }
  }

  private static void check(int[] prompt, DecoderConfig config) {
    if (prompt.length == 0) {
      throw new UserError("the prompt is empty; needs at least one token");
    }
    for (int id : prompt) {
      if (id < 0 || id >= config.vocab()) {
        throw new UserError(
            "prompt: token id " + id + ", the model's vocabulary ends at " + (config.vocab() - 1));
      }
    }
    if (prompt.length >= config.maxPosition()) {
      throw new UserError(
          "the prompt has "
              + prompt.length
              + " tokens, the model's context "
              + config.maxPosition()
              + ": no room for another");
    }
  }
}
