package dev.caravan.data.pack;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.PairStore;
import dev.caravan.data.Row;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.ExampleOrder;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class PairSourceTest {
  private static final int SOURCE = 16;
  private static final int TARGET = 9;
  private static final int PAD = 5;
  private static final int START = 6;

  private static PairStore pairs(int count, long seed) {
    Random random = new Random(seed);
    PairStore.Builder pairs = new PairStore.Builder();
    pairs.file("memory");
    for (int i = 0; i < count; i++) {
      int[] source = random.ints(1 + random.nextInt(SOURCE), 10, 1000).toArray();
      int[] labels = random.ints(1 + random.nextInt(TARGET), 0, 1000).toArray();
      for (int j = 0; j < labels.length; j++) {
        labels[j] = random.nextInt(4) == 0 ? Row.NO_TARGET : labels[j];
      }
      pairs.add(source, source.length, labels, labels.length, i + 1);
    }
    return pairs.build();
  }

  private static PairShape shape(int sources, int targets, boolean packing, int documents) {
    return new PairShape(sources, targets, SOURCE, TARGET, packing, documents, PAD, START);
  }

  @Property(tries = 200, seed = "17")
  void everyExampleOfAStepLiesOnceAndWholeOnBothSides(
      @ForAll @IntRange(min = 1, max = 60) int count,
      @ForAll @IntRange(min = 1, max = 20) int examples,
      @ForAll @IntRange(min = SOURCE, max = 90) int sources,
      @ForAll @IntRange(min = TARGET, max = 70) int targets,
      @ForAll @IntRange(min = 1, max = 12) int documents,
      @ForAll boolean packing,
      @ForAll long seed) {
    PairStore pairs = pairs(count, seed);
    ExampleOrder order = ExampleOrder.shuffled(count, seed);
    PairShape shape = shape(sources, targets, packing, documents);
    PairSource source = new PairSource(pairs, order, StepSize.examples(examples), shape);
    PairStep step = source.newStep();
    for (int s = 0; s < 4; s++) {
      source.fill(step.nextK(), step);
      assertEquals((long) s * examples, step.firstK());
      assertEquals(step.firstK() + examples, step.nextK());
      check(step, pairs, order, packing);
    }
  }

  private static void check(PairStep step, PairStore pairs, ExampleOrder order, boolean packing) {
    Set<Long> seen = new HashSet<>();
    long sources = 0;
    long inputs = 0;
    long targets = 0;
    for (int b = 0; b < step.microBatches(); b++) {
      PairBatch batch = step.microBatch(b);
      assertTrue(batch.documents() > 0, "an empty buffer in the middle");
      for (int d = 0; d < batch.documents(); d++) {
        assertTrue(seen.add(batch.example(d)), "example " + batch.example(d) + " twice");
        assertEquals(order.rowAt(batch.example(d)), batch.row(d));
        check(batch, d, pairs, packing);
      }
      int lastSource = batch.cuSources()[batch.documents()];
      for (int r = lastSource; r < batch.sourceIds().length; r++) {
        assertEquals(PAD, batch.sourceIds()[r]);
        assertEquals(0, batch.sourcePositions()[r]);
      }
      for (int r = batch.cuTargets()[batch.documents()]; r < batch.targetInputs().length; r++) {
        assertEquals(PAD, batch.targetInputs()[r]);
      }
      sources += batch.sources();
      inputs += batch.inputs();
      targets += batch.targets();
    }
    assertEquals(step.nextK() - step.firstK(), seen.size());
    assertEquals(step.sourceTokens(), sources);
    assertEquals(step.targetTokens(), inputs);
    assertEquals(step.targets(), targets);
    long rows = 0;
    for (int b = 0; b < step.microBatches(); b++) {
      rows += step.microBatch(b).sourceIds().length;
    }
    assertEquals(rows, step.sourceTokens() + step.sourcePadding());
  }

  /**
   * The decoder reads the labels moved right behind the start token and predicts those that count.
   */
  private static void check(PairBatch batch, int d, PairStore pairs, boolean packing) {
    int row = batch.row(d);
    int[] source = new int[pairs.sourceLength(row)];
    int[] labels = new int[pairs.targetLength(row)];
    pairs.copySource(row, source, 0);
    pairs.copyLabels(row, labels, 0);
    int from = batch.cuSources()[d];
    int to = batch.cuTargets()[d];
    assertEquals(packing ? source.length : SOURCE, batch.cuSources()[d + 1] - from);
    assertEquals(packing ? labels.length : TARGET, batch.cuTargets()[d + 1] - to);
    for (int i = 0; i < source.length; i++) {
      assertEquals(source[i], batch.sourceIds()[from + i]);
      assertEquals(i, batch.sourcePositions()[from + i]);
    }
    int target = batch.targetStart(d);
    for (int i = 0; i < labels.length; i++) {
      int before = i == 0 ? START : labels[i - 1] == Row.NO_TARGET ? PAD : labels[i - 1];
      assertEquals(before, batch.targetInputs()[to + i]);
      assertEquals(i, batch.targetPositions()[to + i]);
      if (labels[i] != Row.NO_TARGET) {
        assertEquals(to + i, batch.targetRows()[target]);
        assertEquals(labels[i], batch.targetIds()[target++]);
      }
    }
    assertEquals(batch.targetStart(d + 1), target);
    for (int r = from + source.length; r < batch.cuSources()[d + 1]; r++) {
      assertEquals(PAD, batch.sourceIds()[r]);
    }
  }

  /** A step made after others is the one that is made alone. */
  @Property(tries = 50, seed = "18")
  void aStepIsAFunctionOfItsFirstExample(
      @ForAll @IntRange(min = 1, max = 40) int count,
      @ForAll @IntRange(min = SOURCE + TARGET, max = 120) int tokens,
      @ForAll long seed) {
    PairStore pairs = pairs(count, seed);
    PairShape shape = shape(48, 24, true, 8);
    PairSource source =
        new PairSource(pairs, ExampleOrder.shuffled(count, seed), StepSize.tokens(tokens), shape);
    PairStep step = source.newStep();
    for (int s = 0; s < 4; s++) {
      source.fill(step.nextK(), step);
      assertTrue(step.sourceTokens() + step.targetTokens() <= tokens);
      PairStep alone =
          new PairSource(pairs, ExampleOrder.shuffled(count, seed), StepSize.tokens(tokens), shape)
              .newStep();
      source.fill(step.firstK(), alone);
      assertEquals(content(step), content(alone));
    }
  }

  private static String content(PairStep step) {
    StringBuilder text = new StringBuilder(step.firstK() + ".." + step.nextK());
    for (int b = 0; b < step.microBatches(); b++) {
      PairBatch batch = step.microBatch(b);
      text.append(Arrays.toString(batch.sourceIds())).append(Arrays.toString(batch.targetInputs()));
      text.append(Arrays.toString(Arrays.copyOf(batch.cuSources(), batch.documents() + 1)));
      text.append(Arrays.toString(Arrays.copyOf(batch.cuTargets(), batch.documents() + 1)));
      text.append(Arrays.toString(Arrays.copyOf(batch.targetIds(), batch.targets())));
    }
    return text.toString();
  }

  /** No two buffers could have been one: a document that opened a buffer had no room elsewhere. */
  @Property(tries = 100, seed = "19")
  void noBufferWouldFitIntoTheRoomThatAnotherHas(
      @ForAll @IntRange(min = 2, max = 40) int count, @ForAll long seed) {
    PairShape shape = shape(40, 20, true, 1000);
    PairStep step =
        new PairSource(
                pairs(count, seed), ExampleOrder.sequential(count), StepSize.examples(count), shape)
            .newStep();
    new PairSource(
            pairs(count, seed), ExampleOrder.sequential(count), StepSize.examples(count), shape)
        .fill(0, step);
    for (int a = 0; a < step.microBatches(); a++) {
      for (int b = 0; b < a; b++) {
        boolean fits =
            step.microBatch(a).sources() + step.microBatch(b).sources() <= 40
                && step.microBatch(a).inputs() + step.microBatch(b).inputs() <= 20;
        assertTrue(!fits, "buffers " + b + " and " + a + " fit into one");
      }
    }
  }

  @Test
  void statisticsCountBothSides() {
    PairStore pairs = pairs(30, 4);
    PairShape shape = shape(64, 40, true, 16);
    PairSource source =
        new PairSource(pairs, ExampleOrder.sequential(30), StepSize.examples(10), shape);
    PairStatistics statistics = PairStatistics.of(source, 3);
    assertEquals(30, statistics.documents());
    long sources = 0;
    long labels = 0;
    for (int row = 0; row < 30; row++) {
      sources += pairs.sourceLength(row);
      labels += pairs.targetLength(row);
    }
    assertEquals(sources, statistics.sourceTokens());
    assertEquals(labels, statistics.targetTokens());
    long rows = statistics.microBatches() * 64;
    assertEquals((double) (rows - sources) / rows, statistics.sourcePaddingShare(), 1e-12);
    assertTrue(statistics.targetPaddingShare() > 0 && statistics.targetPaddingShare() < 1);
    assertThrows(IllegalArgumentException.class, () -> PairStatistics.of(source, 0));
  }

  @Test
  void pairsThatDoNotFitAreNamed() {
    PairStore pairs = pairs(3, 1);
    PairShape narrow = new PairShape(8, 8, 1, 8, true, 4, PAD, START);
    UserError e =
        assertThrows(
            UserError.class,
            () -> new PairSource(pairs, ExampleOrder.sequential(3), StepSize.examples(1), narrow));
    assertTrue(
        e.getMessage().matches("memory:\\d: .* tokens, more than sequence.*"), e.getMessage());
  }
}
