package dev.caravan.bench.data;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.OperatingSystemMXBean;
import dev.caravan.data.RowSet;
import dev.caravan.data.mixture.ExampleOrder;
import dev.caravan.data.pack.BufferShape;
import dev.caravan.data.pack.Step;
import dev.caravan.data.pack.StepSize;
import dev.caravan.data.pack.StepSource;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.Purpose;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.task.RowLoader;
import dev.caravan.data.task.Task;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32;

/**
 * Reads a file of prompts and responses, puts each into the template {@code qa}, tokenizes and packs
 * them, some times over with a tokenizer that has seen nothing yet, and prints as JSON what that took
 * and what came out. Time is wall time and processor time of the whole process, compiler and garbage
 * collector included.
 *
 * <p>Arguments: FILE.jsonl TOKENIZER SEQUENCE PASSES.
 */
public final class Prepare {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Examples that are packed together: as many as TRL packs at once. */
  private static final int TOGETHER = 1000;

  private static final int SHOWN = 20;

  private Prepare() {}

  /** See the class. */
  public static void main(String[] args) throws Exception {
    Path tokenizerFile = Path.of(args[1]);
    int sequence = Integer.parseInt(args[2]);
    int passes = Integer.parseInt(args[3]);
    ObjectNode result = JSON.createObjectNode();
    ArrayNode each = result.putArray("passes");
    RowSet rows = null;
    for (int pass = 0; pass < passes; pass++) {
      try (Tokenizer tokenizer = Tokenizers.open(tokenizerFile)) {
        ObjectNode one = each.addObject();
        rows = pass(args[0], tokenizer, sequence, one);
      }
    }
    describe(rows, result);
    System.out.println(JSON.writeValueAsString(result));
  }

  private static RowSet pass(String file, Tokenizer tokenizer, int sequence, ObjectNode one) {
    Task task = new Task(List.of(file), Format.PROMPT, Map.of("target", "response"), Optional.of("qa"));
    RowLimits limits = RowLimits.ofSequence(sequence, tokenizer.vocabSize());
    Clock whole = new Clock();
    RowSet rows = RowLoader.load(task, tokenizer, limits, Purpose.TRAIN).rows();
    Clock packing = new Clock();
    int buffers = pack(rows, sequence);
    one.put("pack_cpu_s", packing.cpu()).put("cpu_s", whole.cpu()).put("wall_s", whole.wall());
    one.put("buffers", buffers);
    return rows;
  }

  /** Fills the buffers of every step; returns how many. */
  private static int pack(RowSet rows, int sequence) {
    StepSource source =
        new StepSource(
            rows,
            ExampleOrder.sequential(rows.size()),
            StepSize.examples(TOGETHER),
            BufferShape.of(sequence, sequence, true, rows.minLength(), 0));
    Step step = source.newStep();
    int buffers = 0;
    for (long k = 0; k < rows.size(); k = step.nextK()) {
      source.fill(k, rows.size(), step);
      buffers += step.microBatches();
    }
    return buffers;
  }

  private static void describe(RowSet rows, ObjectNode result) {
    CRC32 sum = new CRC32();
    int[] ids = new int[rows.maxLength()];
    ArrayNode first = result.putArray("first");
    for (int row = 0; row < rows.size(); row++) {
      int length = rows.length(row);
      rows.copyIds(row, ids, 0);
      for (int i = 0; i < length; i++) {
        for (int shift = 0; shift < Integer.SIZE; shift += Byte.SIZE) {
          sum.update(ids[i] >>> shift);
        }
      }
      if (row < SHOWN) {
        ArrayNode shown = first.addArray();
        for (int i = 0; i < length; i++) {
          shown.add(ids[i]);
        }
      }
    }
    result.put("rows", rows.size()).put("tokens", rows.totalTokens());
    result.put("targets", rows.totalTargets()).put("sum", sum.getValue());
  }

  /** Time since it was made. */
  private static final class Clock {
    private static final OperatingSystemMXBean SYSTEM =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private final long began = System.nanoTime();
    private final long cpuBegan = SYSTEM.getProcessCpuTime();

    double wall() {
      return (System.nanoTime() - began) * 1e-9;
    }

    double cpu() {
      return (SYSTEM.getProcessCpuTime() - cpuBegan) * 1e-9;
    }
  }
}
