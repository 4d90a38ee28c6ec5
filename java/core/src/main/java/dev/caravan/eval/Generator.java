package dev.caravan.eval;

import dev.caravan.graph.Executor;
import dev.caravan.graph.Graph;
import dev.caravan.graph.Plan;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Memory;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.TensorRef;
import dev.caravan.model.LlamaGraphs;
import dev.caravan.train.ModelSource;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Continues a sequence token by token, with a cache of keys and values. The prompt goes through in
 * pieces of {@link #WIDE} tokens, what follows one by one.
 */
public final class Generator implements AutoCloseable {
  /** Tokens of the prompt that go through at once. */
  public static final int WIDE = 64;

  private static final int[] WIDTHS = {1, WIDE};

  private final Executor executor;
  private final Memory host;
  private final int length;
  private final Map<Integer, TensorRef> results = new LinkedHashMap<>();
  private final Memory answer;
  private final FloatBuffer logits;
  private int cached;

  /**
   * Loads the model.
   *
   * @param length most tokens of the whole sequence, prompt included
   * @param storage dtype of weights and activations
   * @param stream of the device to work on; stays open
   */
  public Generator(ModelSource model, int length, DType storage, Stream stream) {
    this.length = length;
    LlamaGraphs graphs = new LlamaGraphs(model.config(), storage, length);
    int capacity = length + WIDE; // a wide piece writes all of its rows, used or not
    Map<String, Graph> units = new LinkedHashMap<>();
    for (int width : WIDTHS) {
      units.put(unit(width), graphs.decode(width, capacity));
    }
    executor = new Executor(new Plan(units, stream.device().kind()), stream);
    host = Memory.staging(stream.device(), executor.plan().inputBytes());
    for (int width : WIDTHS) {
      Graph graph = units.get(unit(width));
      results.put(width, executor.tensor(unit(width), graph.results().get(0)));
    }
    int bytes = Math.toIntExact(results.get(1).bytes());
    answer = Memory.staging(stream.device(), bytes);
    logits = answer.view(0, bytes).asFloatBuffer();
    model.load(executor, length);
  }

  private static String unit(int width) {
    return "decode." + width;
  }

  /** Forgets the sequence. */
  public void reset() {
    cached = 0;
  }

  /**
   * Forgets all but the first tokens of the sequence.
   *
   * @throws IllegalArgumentException if it is not that long
   */
  public void rewind(int tokens) {
    if (tokens < 0 || tokens > cached) {
      throw new IllegalArgumentException("got " + tokens + ", the sequence has " + cached);
    }
    cached = tokens;
  }

  /** Tokens of the sequence so far. */
  public int cached() {
    return cached;
  }

  /**
   * Appends tokens to the sequence.
   *
   * @param ids at least one; all must fit
   * @return logits [V] of the token that comes next, valid until the next call
   * @throws IllegalArgumentException if there is no token, or too many
   */
  public FloatBuffer append(int... ids) {
    if (ids.length == 0 || ids.length > length - cached) {
      throw new IllegalArgumentException(
          "got " + ids.length + " tokens, needs 1 to " + (length - cached));
    }
    FloatBuffer next = null;
    for (int done = 0; done < ids.length; ) {
      int count = Math.min(WIDE, ids.length - done);
      next = piece(ids, done, count);
      done += count;
    }
    return next;
  }

  private FloatBuffer piece(int[] ids, int from, int count) {
    int width = count == 1 ? 1 : WIDE;
    IntBuffer tokens = input("ids." + width, width);
    IntBuffer positions = input("positions." + width, width);
    for (int i = 0; i < width; i++) {
      tokens.put(i, i < count ? ids[from + i] : 0);
      positions.put(i, i < count ? cached + i : 0);
    }
    input("tokens." + width, 1).put(0, count);
    input(LlamaGraphs.START, 1).put(0, cached);
    input(LlamaGraphs.QUERIES, 2).put(0, 0).put(1, count);
    input(LlamaGraphs.KEYS, 2).put(0, 0).put(1, cached + count);
    input(LlamaGraphs.LAST_ROW, 1).put(0, count - 1);
    input(LlamaGraphs.ONE, 1).put(0, 1);
    Stream stream = executor.stream();
    stream.copy(executor.inputs().address(), host.address(), host.bytes());
    executor.run(unit(width), 0);
    stream.copy(answer.address(), results.get(width).address(), answer.bytes());
    stream.synchronize();
    cached += count;
    return logits;
  }

  private IntBuffer input(String name, int extent) {
    return host.view(executor.plan().leafOffset(name), extent * Integer.BYTES).asIntBuffer();
  }

  @Override
  public void close() {
    answer.close();
    host.close();
    executor.close();
  }
}
