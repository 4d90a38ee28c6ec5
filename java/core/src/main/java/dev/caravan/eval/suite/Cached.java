package dev.caravan.eval.suite;

import dev.caravan.eval.Generator;
import java.nio.FloatBuffer;
import java.util.Arrays;

/**
 * A generator whose prompts share their beginnings, as those with the same exemplars do: what two
 * have in common goes through the model once. Only whole pieces are kept, so a prompt's bits do not
 * depend on the one before it.
 */
final class Cached implements AutoCloseable {
  private final Generator generator;
  private int[] prompt = {};

  Cached(Generator generator) {
    this.generator = generator;
  }

  /** Logits [V] of the token behind a prompt, valid until the next call. */
  FloatBuffer prompt(int[] ids) {
    int same = Arrays.mismatch(prompt, ids);
    int common = Math.min(same < 0 ? ids.length : same, ids.length - 1);
    int kept = Math.max(0, common / Generator.WIDE * Generator.WIDE);
    generator.rewind(Math.min(kept, generator.cached()));
    prompt = ids;
    return generator.append(Arrays.copyOfRange(ids, kept, ids.length));
  }

  /** Logits of the token behind one more token. */
  FloatBuffer append(int id) {
    return generator.append(id);
  }

  int cached() {
    return generator.cached();
  }

  @Override
  public void close() {
    generator.close();
  }
}
