package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RowLoaderTokensTest {
  private static final RowLimits LIMITS = RowLimits.ofSequence(4, 100);

  @TempDir Path folder;

  private Path file(String name, String... lines) throws IOException {
    return Files.writeString(folder.resolve(name), String.join("\n", lines));
  }

  private static LoadedRows load(Purpose purpose, Path... files) {
    return RowLoader.loadTokens(
        List.of(files).stream().map(Path::toString).toList(), LIMITS, purpose);
  }

  @Test
  void leavesOutRowsWithoutTargetsWhenTrainingAndCountsThem() throws IOException {
    Path a =
        file(
            "a.jsonl",
            "{\"input_ids\":[1,2],\"labels\":[-100,-100]}",
            "{\"input_ids\":[3,4],\"labels\":[3,-100]}",
            "{\"input_ids\":[5,6],\"labels\":[-100,6]}");
    Path b = file("b.jsonl", "{\"input_ids\":[7,8,9,10],\"labels\":[7,8,9,10]}");
    LoadedRows train = load(Purpose.TRAIN, a, b);
    assertEquals(2, train.rows().size());
    assertArrayEquals(new int[] {5, 6}, train.rows().row(0).inputIds());
    assertEquals(a + ":3", train.rows().where(0));
    assertEquals(b + ":1", train.rows().where(1));
    assertEquals(2, train.report().files().get(0).emptyTarget());
    assertEquals(List.of(a + ": 3 rows, 2 without target left out"), train.report().warnings());
    assertEquals(4, train.report().total().read());

    LoadedRows score = load(Purpose.SCORE, a, b);
    assertEquals(4, score.rows().size());
    assertEquals(0, score.rows().targets(0));
    assertEquals(List.of(), score.report().warnings());
  }

  @Test
  void refusesARowLongerThanTheSequence() throws IOException {
    Path a =
        file(
            "a.jsonl",
            "{\"input_ids\":[1,2],\"labels\":[1,2]}",
            "{\"input_ids\":[1,2,3,4,5],\"labels\":[1,2,3,4,5]}");
    for (Purpose purpose : Purpose.values()) {
      UserError error = assertThrows(UserError.class, () -> load(purpose, a));
      assertEquals(a + ":2: 5 tokens, more than sequence.length = 4", error.getMessage());
    }
  }

  @Test
  void refusesAnEmptyDataSet() throws IOException {
    Path a = file("a.jsonl", "", "  ");
    assertEquals(
        a + ": no rows; the data set is empty",
        assertThrows(UserError.class, () -> load(Purpose.TRAIN, a)).getMessage());
  }

  @Test
  void refusesToTrainWhenNoTargetIsLeft() throws IOException {
    Path a =
        file(
            "a.jsonl",
            "{\"input_ids\":[1,2],\"labels\":[1,-100]}",
            "{\"input_ids\":[],\"labels\":[]}");
    UserError error = assertThrows(UserError.class, () -> load(Purpose.TRAIN, a));
    assertTrue(error.getMessage().contains("none of 2 rows is left"), error.getMessage());
    assertEquals(2, load(Purpose.SCORE, a).rows().size());
  }
}
