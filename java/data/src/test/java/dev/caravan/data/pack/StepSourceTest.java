package dev.caravan.data.pack;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class StepSourceTest {
  private static final int LENGTH = 16;

  private static RowStore rows(int count, int shortest, long seed) {
    Random random = new Random(seed);
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      int[] ids = random.ints(shortest + random.nextInt(LENGTH + 1 - shortest), 1, 1000).toArray();
      int[] labels = ids.clone();
      for (int j = 0; j < labels.length; j++) {
        if (random.nextInt(3) == 0) {
          labels[j] = Row.NO_TARGET;
        }
      }
      rows.add(new Row(ids, labels, i));
    }
    return RowStore.of(rows);
  }

  private static BufferShape shape(RowStore rows, int tokens, boolean packing) {
    return BufferShape.of(tokens, LENGTH, packing, rows.minLength(), 0);
  }

  /** Everything of a step that training sees, as text. */
  private static String content(Step step) {
    StringBuilder text = new StringBuilder();
    text.append(step.firstK()).append("..").append(step.nextK());
    text.append(' ').append(step.inputTokens()).append(' ').append(step.targetTokens());
    for (int b = 0; b < step.microBatches(); b++) {
      MicroBatch batch = step.microBatch(b);
      text.append('\n').append(Arrays.toString(batch.ids()));
      text.append(Arrays.toString(batch.positions()));
      text.append(Arrays.toString(Arrays.copyOf(batch.cuSeqlens(), batch.documents() + 1)));
      text.append(Arrays.toString(Arrays.copyOf(batch.targetRows(), batch.targets())));
      text.append(Arrays.toString(Arrays.copyOf(batch.targetIds(), batch.targets())));
    }
    return text.toString();
  }

  @Property(tries = 200, seed = "17")
  void everyExampleOfAStepLiesOnceAndWhole(
      @ForAll @IntRange(min = 1, max = 60) int count,
      @ForAll @IntRange(min = 1, max = 20) int examples,
      @ForAll @IntRange(min = LENGTH, max = 100) int tokens,
      @ForAll boolean packing,
      @ForAll long seed) {
    RowStore rows = rows(count, 1, seed);
    ExampleOrder order = ExampleOrder.shuffled(count, seed);
    StepSource source =
        new StepSource(rows, order, StepSize.examples(examples), shape(rows, tokens, packing));
    Step step = source.newStep();
    long k = 0;
    for (int s = 0; s < 4; s++) {
      source.fill(k, step);
      assertEquals((long) s * examples, step.firstK());
      assertEquals(k + examples, step.nextK());
      checkLayout(step, rows, order);
      k = step.nextK();
    }
  }

  private static void checkLayout(Step step, RowStore rows, ExampleOrder order) {
    Set<Long> seen = new TreeSet<>();
    long tokens = 0;
    long targets = 0;
    for (int b = 0; b < step.microBatches(); b++) {
      MicroBatch batch = step.microBatch(b);
      assertTrue(batch.documents() > 0, "an empty buffer in the middle");
      for (int d = 0; d < batch.documents(); d++) {
        assertTrue(seen.add(batch.example(d)), "example " + batch.example(d) + " twice");
        assertEquals(order.rowAt(batch.example(d)), batch.row(d));
        Row row = rows.row(batch.row(d));
        int start = batch.cuSeqlens()[d];
        assertTrue(batch.cuSeqlens()[d + 1] - start >= row.length());
        int target = batch.targetStart(d);
        for (int i = 0; i < row.length(); i++) {
          assertEquals(row.inputIds()[i], batch.ids()[start + i]);
          assertEquals(i, batch.positions()[start + i]);
          assertFalse(batch.isPadding(start + i));
          if (i + 1 < row.length() && row.labels()[i + 1] != Row.NO_TARGET) {
            assertEquals(start + i, batch.targetRows()[target]);
            assertEquals(row.labels()[i + 1], batch.targetIds()[target]);
            target++;
          }
        }
        assertEquals(batch.targetStart(d + 1), target);
      }
      int real = 0;
      for (int r = 0; r < batch.capacity(); r++) {
        if (batch.isPadding(r)) {
          assertEquals(0, batch.ids()[r], "padding row " + r);
        } else {
          real++;
        }
      }
      assertEquals(batch.tokens(), real);
      tokens += batch.tokens();
      targets += batch.targets();
    }
    assertEquals(step.examples(), seen.size());
    assertEquals(Set.of(), difference(seen, step));
    assertEquals(step.inputTokens(), tokens);
    assertEquals(step.targetTokens(), targets);
  }

  private static Set<Long> difference(Set<Long> seen, Step step) {
    Set<Long> others = new TreeSet<>(seen);
    for (long k = step.firstK(); k < step.nextK(); k++) {
      others.remove(k);
    }
    return others;
  }

  @Property(tries = 100, seed = "17")
  void aStepByTokensTakesAsManyExamplesAsFit(
      @ForAll @IntRange(min = 1, max = 40) int count,
      @ForAll @IntRange(min = LENGTH, max = 200) int budget,
      @ForAll long seed) {
    RowStore rows = rows(count, 1, seed);
    ExampleOrder order = ExampleOrder.shuffled(count, seed);
    StepSource source =
        new StepSource(rows, order, StepSize.tokens(budget), shape(rows, 2 * LENGTH, true));
    Step step = source.newStep();
    long k = 0;
    for (int s = 0; s < 10; s++) {
      source.fill(k, step);
      assertTrue(step.examples() > 0);
      assertTrue(step.inputTokens() <= budget);
      assertTrue(step.inputTokens() + rows.length(order.rowAt(step.nextK())) > budget);
      checkLayout(step, rows, order);
      k = step.nextK();
    }
  }

  @Property(tries = 50, seed = "17")
  void anyStepIsTheSameWhenResumed(
      @ForAll @IntRange(min = 1, max = 40) int count,
      @ForAll @IntRange(min = 0, max = 9) int resumeAt,
      @ForAll boolean byTokens,
      @ForAll long seed) {
    RowStore rows = rows(count, 1, seed);
    StepSize size = byTokens ? StepSize.tokens(50) : StepSize.examples(7);
    List<String> steps = new ArrayList<>();
    long k = 0;
    long resumeK = 0;
    StepSource source =
        new StepSource(
            rows, ExampleOrder.shuffled(count, seed), size, shape(rows, 2 * LENGTH, true));
    Step step = source.newStep();
    for (int s = 0; s < 10; s++) {
      if (s == resumeAt) {
        resumeK = k;
      }
      source.fill(k, step);
      steps.add(content(step));
      k = step.nextK();
    }
    StepSource fresh =
        new StepSource(
            rows, ExampleOrder.shuffled(count, seed), size, shape(rows, 2 * LENGTH, true));
    Step again = fresh.newStep();
    for (int s = resumeAt; s < 10; s++) {
      fresh.fill(resumeK, again);
      assertEquals(steps.get(s), content(again));
      resumeK = again.nextK();
    }
  }

  @Test
  void aBoundedSweepVisitsEveryRowOnceWithoutWrapping() {
    RowStore rows = rows(23, 0, 5);
    StepSource source =
        new StepSource(
            rows, ExampleOrder.sequential(23), StepSize.examples(10), shape(rows, 64, true));
    Step step = source.newStep();
    List<Integer> seen = new ArrayList<>();
    for (long k = 0; k < 23; k = step.nextK()) {
      source.fill(k, 23, step);
      for (int b = 0; b < step.microBatches(); b++) {
        for (int d = 0; d < step.microBatch(b).documents(); d++) {
          seen.add(step.microBatch(b).row(d));
        }
      }
    }
    assertEquals(23, step.nextK());
    for (int row = 0; row < 23; row++) {
      assertEquals(rows.length(row) > 0, seen.contains(row), "row " + row);
    }
    assertEquals(new TreeSet<>(seen).size(), seen.size());
  }

  @Test
  void countsTheStepsOfEpochs() {
    RowStore rows = rows(23, 1, 6);
    BufferShape shape = shape(rows, 64, true);
    ExampleOrder order = ExampleOrder.shuffled(23, 1);
    assertEquals(5, new StepSource(rows, order, StepSize.examples(10), shape).stepsOf(2));
    StepSource byTokens = new StepSource(rows, order, StepSize.tokens(40), shape);
    Step step = byTokens.newStep();
    long steps = 0;
    for (long k = 0; k < 46; k = step.nextK()) {
      byTokens.fill(k, step);
      steps++;
    }
    assertEquals(steps, byTokens.stepsOf(2));
  }

  @Test
  void refusesRowsThatCannotFit() {
    RowStore rows =
        RowStore.of(
            List.of(new Row(new int[2], new int[2], 0), new Row(new int[9], new int[9], 1)));
    ExampleOrder order = ExampleOrder.sequential(2);
    UserError error =
        assertThrows(
            UserError.class,
            () ->
                new StepSource(
                    rows, order, StepSize.examples(1), new BufferShape(16, 8, true, 4, 0)));
    assertEquals("memory:2: 9 tokens, more than sequence.length = 8", error.getMessage());
    error =
        assertThrows(
            UserError.class,
            () ->
                new StepSource(
                    rows, order, StepSize.tokens(8), new BufferShape(16, 16, true, 4, 0)));
    assertEquals("memory:2: 9 tokens, more than train.tokens_per_step = 8", error.getMessage());
  }

  @Test
  void allocatesNothingOnceItsBuffersAreMade() {
    RowStore rows = rows(500, 1, 8);
    StepSource source =
        new StepSource(
            rows, ExampleOrder.shuffled(500, 3), StepSize.tokens(1000), shape(rows, 128, true));
    Step step = source.newStep();
    for (int s = 0; s < 200; s++) {
      source.fill(step.nextK(), step);
    }
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = threads.getCurrentThreadAllocatedBytes();
    for (int s = 0; s < 100; s++) {
      source.fill(step.nextK(), step);
    }
    long bytesPerStep = (threads.getCurrentThreadAllocatedBytes() - before) / 100;
    assertTrue(bytesPerStep < 1000, bytesPerStep + " bytes a step");
  }

  @Test
  void givesARankWithoutABufferAnEmptyOne() {
    RowStore rows = rows(3, 1, 7);
    StepSource source =
        new StepSource(
            rows, ExampleOrder.sequential(3), StepSize.examples(3), shape(rows, 64, true));
    MicroBatch empty = source.emptyMicroBatch();
    assertEquals(64, empty.capacity());
    assertEquals(0, empty.documents());
    assertEquals(0, empty.targets());
  }
}
