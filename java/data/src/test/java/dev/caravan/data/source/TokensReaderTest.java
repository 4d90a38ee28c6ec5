package dev.caravan.data.source;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TokensReaderTest {
  @TempDir Path folder;

  private TokensReader read(String text) throws IOException {
    return new TokensReader(Files.writeString(folder.resolve("a.jsonl"), text), 512);
  }

  @Test
  void readsRowsAndPassesOverOtherKeys() throws IOException {
    try (TokensReader reader =
        read(
            "{\"labels\": [-100, 2, 3], \"x\": {\"input_ids\": [9]}, \"input_ids\": [1, 2, 3]}\n"
                + "\n"
                + "{\"input_ids\":[],\"labels\":[]}\n"
                + "{\"input_ids\": [511], \"labels\": [0]}")) {
      assertTrue(reader.next());
      assertEquals(3, reader.length());
      assertArrayEquals(new int[] {1, 2, 3}, Arrays.copyOf(reader.ids(), 3));
      assertArrayEquals(new int[] {-100, 2, 3}, Arrays.copyOf(reader.labels(), 3));
      assertEquals(1, reader.line());
      assertTrue(reader.next());
      assertEquals(0, reader.length());
      assertEquals(3, reader.line());
      assertTrue(reader.next());
      assertEquals(511, reader.ids()[0]);
      assertFalse(reader.next());
    }
  }

  @Test
  void readsLongRows() throws IOException {
    String ids =
        IntStream.range(0, 5000).mapToObj(i -> "" + i % 512).collect(Collectors.joining(","));
    try (TokensReader reader = read("{\"input_ids\":[" + ids + "],\"labels\":[" + ids + "]}")) {
      assertTrue(reader.next());
      assertEquals(5000, reader.length());
      for (int i = 0; i < 5000; i++) {
        assertEquals(i % 512, reader.ids()[i]);
        assertEquals(i % 512, reader.labels()[i]);
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"input_ids\": [1], \"labels\": [1] | not valid JSON",
        "{\"input_ids\": [1, \"labels\": [1]} | input_ids[1] is labels, expected a whole number",
        "[1, 2] | not a JSON object",
        "{\"input_ids\": [1]} | no 'labels'",
        "{\"input_ids\": [1], \"input_ids\": [2], \"labels\": [1]} | 'input_ids' twice",
        "{\"labels\": [1]} | no 'input_ids'",
        "{\"input_ids\": [1], \"labels\": [1, 2]} | 1 input_ids but 2 labels",
        "{\"input_ids\": 7, \"labels\": [1]} | 'input_ids' is not an array",
        "{\"input_ids\": [1.5], \"labels\": [1]} | input_ids[0] is 1.5, expected a whole number",
        "{\"input_ids\": [\"a\"], \"labels\": [1]} | input_ids[0] is a, expected a whole number",
        "{\"input_ids\": [3, 512], \"labels\": [1, 2]} | input_ids[1] is 512, outside the"
            + " vocabulary of 512",
        "{\"input_ids\": [-100], \"labels\": [1]} | input_ids[0] is -100, outside the vocabulary of"
            + " 512",
        "{\"input_ids\": [1], \"labels\": [-1]} | labels[0] is -1, outside the vocabulary of 512",
        "{\"input_ids\": [99999999999999999999], \"labels\": [1]} | outside the vocabulary of 512",
        "{\"input_ids\": [4294967297], \"labels\": [1]} | input_ids[0] is 4294967297, outside",
        "{\"input_ids\": [1], \"labels\": [1]} {} | more than one JSON value",
        "nonsense | not valid JSON",
      })
  void namesFileLineAndFault(String line, String fault) throws IOException {
    try (TokensReader reader = read("{\"input_ids\":[1],\"labels\":[1]}\n" + line + "\n")) {
      assertTrue(reader.next());
      UserError error = assertThrows(UserError.class, reader::next);
      assertTrue(
          error.getMessage().startsWith(folder.resolve("a.jsonl") + ":2: "), error.getMessage());
      assertTrue(error.getMessage().contains(fault), error.getMessage());
      assertFalse(error.getMessage().contains("\n"), error.getMessage());
    }
  }
}
