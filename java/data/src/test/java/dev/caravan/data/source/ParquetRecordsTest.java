package dev.caravan.data.source;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files that Apache Arrow wrote (parquet/make.py) and that DuckDB writes. */
class ParquetRecordsTest {
  @TempDir Path folder;

  @Test
  void readsWhatArrowWrote() {
    Path file = TestData.copy(folder, "/parquet/rows.parquet");
    try (RecordReader reader = RecordReader.open(file)) {
      ObjectNode first = reader.next();
      assertEquals("2 + 2?", first.get("prompt").asText());
      assertEquals(4, first.get("n").asLong());
      assertEquals(0.5, first.get("weight").asDouble());
      assertTrue(first.get("ok").isBoolean());
      assertEquals("[\"sum\",\"short\"]", first.get("tags").toString());
      assertEquals(1, reader.line());
      ObjectNode second = reader.next();
      assertEquals("Größe\n\"q\"", second.get("prompt").asText());
      assertTrue(second.get("n").isNull());
      assertEquals(-1e-3, second.get("weight").asDouble());
      assertEquals(1L << 40, reader.next().get("n").asLong());
      assertEquals(3, reader.line());
      assertNull(reader.next());
    }
  }

  @Test
  void formatsAreToldAsInOtherFiles() {
    Path rows = TestData.copy(folder, "/parquet/rows.parquet");
    try (ExampleReader reader = ExampleReader.open(rows, Format.AUTO, Map.of())) {
      Example.Fields example = (Example.Fields) reader.next();
      assertEquals("4", example.target());
      assertEquals("sum\nshort", example.values().get("tags"));
    }
    Path chats = TestData.copy(folder, "/parquet/chats.parquet");
    try (ExampleReader reader = ExampleReader.open(chats, Format.AUTO, Map.of())) {
      for (int i = 0; i < 5; i++) {
        Example.Chat chat = (Example.Chat) reader.next();
        assertEquals(new Message(Role.USER, "hi " + i), chat.messages().get(0));
      }
      assertNull(reader.next());
    }
    assertEquals(2, DataFiles.resolve(List.of(folder.toString())).size());
  }

  @Test
  void keepsTheOrderOfManyRowGroups() throws SQLException {
    Path file = folder.resolve("it's many.parquet");
    try (Connection connection = DriverManager.getConnection("jdbc:duckdb:");
        Statement statement = connection.createStatement()) {
      statement.execute(
          "COPY (SELECT i, 'q' || i AS prompt, 'a' || i AS target FROM range(30000) r(i)) TO '"
              + file.toString().replace("'", "''")
              + "' (FORMAT parquet, ROW_GROUP_SIZE 2048)");
    }
    try (RecordReader reader = RecordReader.open(file)) {
      for (int i = 0; i < 30_000; i++) {
        ObjectNode row = reader.next();
        assertEquals(i, row.get("i").asInt());
        assertEquals("q" + i, row.get("prompt").asText());
        assertEquals(i + 1, reader.line());
      }
      assertNull(reader.next());
    }
  }

  @Test
  void refusesWhatIsNoParquet() throws IOException {
    Path broken = Files.writeString(folder.resolve("broken.parquet"), "PAR1 and no more");
    String message = assertThrows(UserError.class, () -> RecordReader.open(broken)).getMessage();
    assertTrue(message.contains("broken.parquet: not a Parquet file"), message);
    assertEquals(1, message.lines().count(), message);
    Path cut = folder.resolve("cut.parquet");
    byte[] whole = Files.readAllBytes(TestData.copy(folder, "/parquet/rows.parquet"));
    Files.write(cut, Arrays.copyOf(whole, whole.length / 2));
    assertThrows(UserError.class, () -> RecordReader.open(cut));
    Path none = folder.resolve("none.parquet");
    message = assertThrows(UserError.class, () -> RecordReader.open(none)).getMessage();
    assertTrue(message.contains("none.parquet: cannot be read"), message);
    Path rows = folder.resolve("rows.parquet");
    message = assertThrows(UserError.class, () -> new TokensReader(rows, 100)).getMessage();
    assertTrue(message.contains("tokens are read from JSON lines alone"), message);
    Map<String, String> fields = Map.of("prompt", "question");
    try (ExampleReader reader = ExampleReader.open(rows, Format.PROMPT, fields)) {
      message = assertThrows(UserError.class, reader::next).getMessage();
      assertTrue(message.contains("rows.parquet:1: no field 'question'"), message);
    }
  }
}
