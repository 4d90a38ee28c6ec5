package dev.caravan.eval.suite;

import dev.caravan.data.tokenize.DecodeStream;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.eval.Generator;
import dev.caravan.eval.Sampler;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Stream;
import dev.caravan.train.ModelSource;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** Lets a model write answers, one at a time. */
final class Author implements AutoCloseable {
  /**
   * What was written.
   *
   * @param text up to the stop text or the end token
   * @param cut whether it ended for want of room
   */
  record Written(String text, boolean cut) {}

  private final Tokenizer tokenizer;
  private final Cached cached;
  private final Set<Integer> ends = new HashSet<>();

  /**
   * @param length most tokens of a prompt and its answer
   */
  Author(ModelSource model, Tokenizer tokenizer, int length, DType storage, Stream stream) {
    this.tokenizer = tokenizer;
    cached = new Cached(new Generator(model, length, storage, stream));
    ends.addAll(model.config().eosIds());
    Arrays.stream(tokenizer.stopIds()).forEach(ends::add);
  }

  /**
   * Answers a prompt.
   *
   * @param room most tokens of the answer
   */
  Written write(int[] prompt, List<String> stops, int room, Sampler sampler) {
    DecodeStream stream = tokenizer.decodeStream(prompt);
    StringBuilder text = new StringBuilder();
    FloatBuffer logits = cached.prompt(prompt);
    for (int made = 0; made < room; made++) {
      int token = sampler.next(logits);
      if (ends.contains(token)) {
        return new Written(text.append(stream.flush()).toString(), false);
      }
      text.append(stream.add(token));
      int stop = earliest(text, stops);
      if (stop >= 0) {
        return new Written(text.substring(0, stop), false);
      }
      if (made + 1 < room) {
        logits = cached.append(token);
      }
    }
    text.append(stream.flush());
    int stop = earliest(text, stops);
    return new Written(stop < 0 ? text.toString() : text.substring(0, stop), stop < 0);
  }

  private static int earliest(StringBuilder text, List<String> stops) {
    int earliest = -1;
    for (String stop : stops) {
      int at = text.indexOf(stop);
      earliest = at >= 0 && (earliest < 0 || at < earliest) ? at : earliest;
    }
    return earliest;
  }

  @Override
  public void close() {
    cached.close();
  }
}
