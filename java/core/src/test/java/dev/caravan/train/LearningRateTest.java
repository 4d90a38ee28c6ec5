package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.train.RunConfig.Schedule;
import org.junit.jupiter.api.Test;

class LearningRateTest {
  private static final double EXACT = 1e-15;

  @Test
  void warmsUpFromTheFirstStep() {
    LearningRate rate = new LearningRate(0.4, Schedule.CONSTANT, 4, 0.1, 20);
    assertEquals(0.1, rate.at(1), EXACT);
    assertEquals(0.3, rate.at(3), EXACT);
    assertEquals(0.4, rate.at(4), EXACT);
    assertEquals(0.4, rate.at(20), EXACT);
  }

  @Test
  void withoutWarmUpBeginsOnTheSchedule() {
    assertEquals(0.4, new LearningRate(0.4, Schedule.CONSTANT, 0, 0.1, 20).at(1), EXACT);
    assertEquals(
        0.4 * (1 - 0.9 / 20), new LearningRate(0.4, Schedule.LINEAR, 0, 0.1, 20).at(1), EXACT);
  }

  @Test
  void linearAndCosineEndAtTheFinalRatio() {
    assertEquals(0.04, new LearningRate(0.4, Schedule.LINEAR, 4, 0.1, 20).at(20), EXACT);
    assertEquals(0.04, new LearningRate(0.4, Schedule.COSINE, 4, 0.1, 20).at(20), EXACT);
  }

  @Test
  void halfWayLinearAndCosineMeet() {
    double middle = 0.4 * (1 + 0.1) / 2;
    assertEquals(middle, new LearningRate(0.4, Schedule.LINEAR, 4, 0.1, 20).at(12), EXACT);
    assertEquals(middle, new LearningRate(0.4, Schedule.COSINE, 4, 0.1, 20).at(12), EXACT);
  }

  @Test
  void inverseSquareRootGoesOnFromThePeak() {
    LearningRate rate = new LearningRate(0.4, Schedule.INVERSE_SQRT, 4, 0.1, 100);
    assertEquals(0.4, rate.at(4), EXACT);
    assertEquals(0.2, rate.at(16), EXACT);
    assertEquals(0.08, rate.at(100), EXACT);
  }

  @Test
  void aRunThatIsAllWarmUpNeverLeavesIt() {
    LearningRate rate = new LearningRate(0.4, Schedule.COSINE, 8, 0.1, 4);
    assertEquals(0.2, rate.at(4), EXACT);
  }
}
