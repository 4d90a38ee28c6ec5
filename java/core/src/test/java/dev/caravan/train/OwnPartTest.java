package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.checkpoint.PieceName;
import dev.caravan.graph.Division;
import dev.caravan.graph.Division.Split;
import dev.caravan.graph.FlatLayout;
import dev.caravan.graph.Grid;
import dev.caravan.optim.Adafactor;
import dev.caravan.tensor.TensorType;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The names under which a grid of ranks saves what each has of the experts of a layer. */
class OwnPartTest {
  private static final long EXPERTS = 4;
  private static final long ROWS = 8;
  private static final long COLUMNS = 6;

  /**
   * Every element of the whole is what the ranks' names say once, and lies where rows and columns
   * say.
   */
  @ParameterizedTest
  @CsvSource({
    "COLUMNS, 2, 2",
    "EXPERT_ROWS, 2, 2",
    "EXPERT_PAIRS, 2, 2",
    "EXPERT_ROWS, 2, 4",
    "EXPERT_PAIRS, 4, 4",
    "COLUMNS, 3, 1",
    "EXPERT_PAIRS, 1, 4",
    "EXPERT_ROWS, 4, 1"
  })
  void everyElementHasAName(Split split, int tensor, int expert) {
    Grid grid =
        new Grid(new Division(tensor, name -> split), new Division(expert, name -> Split.ROWS));
    TensorType whole = TensorType.f32(EXPERTS, ROWS, COLUMNS);
    TensorType type = grid.experts().part("w", grid.tensor().part("w", whole));
    assertEquals(whole, grid.whole("w", type));
    FlatLayout.Slot slot = new FlatLayout.Slot("w", type, 0);
    int[] all = new int[(int) whole.elements()];
    int[] rows = new int[(int) (EXPERTS * ROWS)];
    int[] columns = new int[(int) (EXPERTS * COLUMNS)];
    for (int t = 0; t < tensor; t++) {
      for (int e = 0; e < expert; e++) {
        OwnPart own = new OwnPart(grid, t, e, false);
        for (long expertOf = 0, i = 0; expertOf < type.dim(0); expertOf++) {
          for (long row = 0; row < type.dim(1); row++) {
            for (long column = 0; column < type.dim(2); column++, i++) {
              long place = own.name(slot, 0).place(i);
              assertEquals(place, own.name(slot, i).place(0));
              assertEquals(e * type.dim(0) + expertOf, place / (ROWS * COLUMNS));
              assertEquals(row(split, type, row, t), place / COLUMNS % ROWS);
              assertEquals(
                  split == Split.COLUMNS ? t * type.dim(2) + column : column, place % COLUMNS);
              all[(int) place]++;
            }
          }
        }
        count(rows, own, slot, Adafactor.ROW, type.dim(0) * type.dim(1));
        count(columns, own, slot, Adafactor.COL, type.dim(0) * type.dim(2));
      }
    }
    assertTrue(Arrays.stream(all).allMatch(times -> times == 1), Arrays.toString(all));
    assertTrue(Arrays.stream(rows).allMatch(times -> times == 1), Arrays.toString(rows));
    assertTrue(Arrays.stream(columns).allMatch(times -> times == 1), Arrays.toString(columns));
  }

  private static long row(Split split, TensorType part, long row, int rank) {
    long half = part.dim(1) / 2;
    return switch (split) {
      case EXPERT_ROWS -> rank * part.dim(1) + row;
      case EXPERT_PAIRS -> row / half * (ROWS / 2) + rank * half + row % half;
      default -> row;
    };
  }

  /** Counts the means over an axis that a rank saves, of so many that it has. */
  private static void count(
      int[] whole, OwnPart own, FlatLayout.Slot slot, String kind, long elements) {
    if (own.saves(slot, kind)) {
      PieceName name = own.cut(slot, kind) ? own.name(slot, kind, 0) : new PieceName("w", 0);
      for (long i = 0; i < elements; i++) {
        whole[(int) name.place(i)]++;
      }
    }
  }
}
