package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.train.PartPieces.Piece;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pieces of a weight put it together: every element comes from the rank and the place that have it. */
class PartPiecesTest {
  /** Runs that fit once, some times, all at once, exactly, or not at all. */
  @ParameterizedTest
  @CsvSource({
    "1, 2, 12, 3, 3", "1, 2, 12, 3, 7", "1, 3, 12, 4, 100", "1, 2, 12, 12, 12", "1, 2, 12, 12, 5",
    "1, 3, 24, 8, 3", "1, 4, 24, 6, 1", "1, 1, 10, 5, 4", "1, 2, 30, 10, 10", "1, 5, 7, 1, 2",
    "2, 2, 12, 3, 7", "3, 2, 12, 12, 5", "4, 1, 10, 10, 4", "4, 1, 10, 10, 100", "2, 3, 24, 8, 8"
  })
  void everyElementHasItsPlace(int groups, int ranks, long count, long run, long room) {
    PartPieces pieces = new PartPieces(groups, ranks, count, run, room);
    assertTrue(pieces.most() <= room);
    int number = 0;
    for (long place = 0; place < groups * ranks * count; place++) {
      Piece piece = pieces.piece(pieces.number(place));
      if (place == piece.place()) {
        assertEquals(number++, pieces.number(place), "one behind the other");
      }
      long at = place - piece.place();
      assertTrue(at >= 0 && at < piece.length() && piece.count() <= pieces.most(), piece + ": " + at);
      assertEquals(place / (ranks * count), piece.group());
      long within = place % (ranks * count);
      long rank = within / run % ranks; // who has the element, and where in its part
      long own = within / (run * ranks) * run + within % run;
      if (pieces.together()) {
        assertEquals(piece.length(), ranks * piece.count());
        assertTrue(own >= piece.first() && own < piece.first() + piece.count(), piece + ": " + own);
      } else {
        assertEquals(rank, piece.root());
        assertEquals(own, piece.first() + at);
      }
    }
    assertEquals(pieces.number(groups * ranks * count - 1) + 1, number);
  }
}
