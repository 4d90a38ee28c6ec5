package dev.caravan.bench;

import dev.caravan.kernels.CallWatch;
import dev.caravan.kernels.KernelCall;
import dev.caravan.kernels.Stream;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * Where the time of training steps goes, op by op. It waits for the device around each call, so on a GPU a
 * profiled step takes longer than another; on the CPU, where every call is done when it returns, it does
 * not.
 */
public final class StepProfile implements CallWatch, AutoCloseable {
  /** What an op's time counts as, by the beginning of its name. All others are the rest. */
  private static final Map<String, String> PARTS = new LinkedHashMap<>();

  static {
    PARTS.put("matmul", "matrix products");
    PARTS.put("attention", "attention");
    PARTS.put("cross_entropy", "loss");
    PARTS.put("adamw", "optimizer");
    PARTS.put("adafactor", "optimizer");
    PARTS.put("global_norm", "optimizer");
  }

  /** Norms, rotations, gates, sums, gathers, copies, the data and the Java around them. */
  public static final String REST = "the rest";

  private final Stream stream;
  private final Map<String, Long> nanos = new TreeMap<>();
  private long began;
  private long callBegan;
  private long total;

  /** Begins to listen. */
  public StepProfile(Stream stream) {
    this.stream = stream;
    stream.synchronize();
    stream.watch(this);
    began = System.nanoTime();
  }

  @Override
  public void before(KernelCall call) {
    stream.synchronize();
    callBegan = System.nanoTime();
  }

  @Override
  public void after(KernelCall call) {
    stream.synchronize();
    nanos.merge(call.op(), System.nanoTime() - callBegan, Long::sum);
  }

  /** Seconds of each op so far, by its name in the ABI. */
  public Map<String, Double> seconds() {
    Map<String, Double> seconds = new TreeMap<>();
    nanos.forEach((op, spent) -> seconds.put(op, spent * 1e-9));
    return seconds;
  }

  /** Shares of all time between the beginning and {@link #close}; they add up to 1. */
  public Map<String, Double> shares() {
    Map<String, Double> shares = new LinkedHashMap<>();
    PARTS.values().forEach(part -> shares.put(part, 0.0));
    double heard = 0;
    for (Map.Entry<String, Long> op : nanos.entrySet()) {
      String part = part(op.getKey());
      if (part != null) {
        double share = (double) op.getValue() / total;
        shares.merge(part, share, Double::sum);
        heard += share;
      }
    }
    shares.put(REST, 1 - heard);
    return shares;
  }

  private static String part(String op) {
    for (Map.Entry<String, String> part : PARTS.entrySet()) {
      if (op.startsWith(part.getKey())) {
        return part.getValue();
      }
    }
    return null;
  }

  /** Stops listening. */
  @Override
  public void close() {
    if (total == 0) {
      stream.synchronize();
      total = System.nanoTime() - began;
      stream.watch(null);
    }
  }
}
