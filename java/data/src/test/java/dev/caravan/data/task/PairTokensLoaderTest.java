package dev.caravan.data.task;

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

class PairTokensLoaderTest {
  @TempDir Path dir;

  private PairTokensLoader.Loaded load(String rows) throws IOException {
    Path file = dir.resolve("rows.jsonl");
    Files.writeString(file, rows);
    return PairTokensLoader.load(List.of(file), 4, 3, 100);
  }

  @Test
  void sidesMayDifferInLengthAndTheFirstLabelCounts() throws IOException {
    PairTokensLoader.Loaded loaded =
        load(
            """
            {"input_ids": [5, 6, 7, 1], "labels": [8, 1]}
            {"input_ids": [5], "labels": [-100, -100]}
            {"input_ids": [9], "labels": [-100, 3, 1]}
            """);
    assertEquals(2, loaded.pairs().size());
    assertEquals(2, loaded.pairs().targets(0));
    assertEquals(2, loaded.pairs().targets(1));
    assertEquals(4, loaded.sources().max());
    assertEquals(2.5, loaded.targets().mean());
    TruncationReport.FileCounts counts = loaded.report().files().get(0);
    assertEquals(3, counts.read());
    assertEquals(1, counts.emptyTarget());
    assertTrue(loaded.report().warnings().get(0).endsWith("1 without target left out"));
    assertTrue(loaded.pairs().where(1).endsWith("rows.jsonl:3"));
  }

  @Test
  void badRowsAreNamed() {
    refused(
        "{\"input_ids\": [1, 2, 3, 4, 5], \"labels\": [1]}",
        ":1: input_ids has 5 tokens, more than sequence.length = 4");
    refused(
        "{\"input_ids\": [1], \"labels\": [1, 1, 1, 1]}",
        ":1: labels has 4 tokens, more than sequence.target_length = 3");
    refused("{\"input_ids\": [], \"labels\": [1]}", ":1: input_ids is empty");
    refused("{\"input_ids\": [1], \"labels\": []}", ":1: labels is empty");
    refused("{\"input_ids\": [1], \"labels\": [100]}", "outside the vocabulary of 100");
    refused("{\"input_ids\": [1], \"labels\": [-100]}", "no row with a target is left");
  }

  private void refused(String row, String message) {
    UserError e = assertThrows(UserError.class, () -> load(row + "\n"));
    assertTrue(e.getMessage().contains(message), e.getMessage());
  }
}
