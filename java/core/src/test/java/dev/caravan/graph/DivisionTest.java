package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.caravan.graph.Division.Split;
import dev.caravan.tensor.TensorType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Parts of a weight, and the runs in which they lie in it. */
class DivisionTest {
  private static final TensorType EXPERTS = TensorType.f32(3, 8, 6);

  private static Division of(Split split, int ranks) {
    return new Division(ranks, name -> split);
  }

  /** Of three experts' matrices of 8 rows and 6 columns, or one of 8 rows. */
  @ParameterizedTest
  @CsvSource({
    "ROWS, 3, 1, 8, 6, 48",
    "COLUMNS, 2, 3, 8, 3, 3",
    "EXPERT_ROWS, 2, 3, 4, 6, 24",
    "EXPERT_PAIRS, 2, 3, 4, 6, 12",
    "EXPERT_PAIRS, 4, 3, 2, 6, 6",
    "WHOLE, 2, 3, 8, 6, 144"
  })
  void partsHaveRuns(Split split, int ranks, long experts, long rows, long columns, long run) {
    TensorType part = of(split, ranks).part("w", EXPERTS);
    assertEquals(TensorType.f32(experts, rows, columns), part);
    assertEquals(run, of(split, ranks).run("w", part));
    assertEquals(EXPERTS, of(split, ranks).whole("w", part));
  }

  @Test
  void pairsAreCutInEachHalf() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> of(Split.EXPERT_PAIRS, 8).part("w", EXPERTS))
            .getMessage();
    assertEquals(
        "w: got " + EXPERTS + " for 8 ranks, needs a multiple of twice as many in axis 1", message);
  }
}
