package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.RowSet;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.source.Format;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RowLoaderTest {
  @TempDir Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void open() {
    tokenizer = Tokenizers.open(TestData.copy(folder, "/tokenizers/bpe.bin"));
  }

  @AfterEach
  void close() {
    tokenizer.close();
  }

  private Task task(String name, String... lines) throws IOException {
    Path file = Files.writeString(folder.resolve(name), String.join("\n", lines));
    return Task.of(file.toString());
  }

  private LoadedRows load(Task task, int length, Purpose purpose) {
    return RowLoader.load(
        task, tokenizer, RowLimits.ofSequence(length, tokenizer.vocabSize()), purpose);
  }

  @Test
  void truncatesThePromptAndCountsWhatIsLost() throws IOException {
    Task task =
        task(
            "a.jsonl",
            "{\"prompt\": \"short\", \"target\": \"ok\"}",
            "{\"prompt\": \"" + "camel ".repeat(100) + "\", \"target\": \"ok\"}",
            "{\"prompt\": \"empty\", \"target\": \"  \"}");
    RowSet whole = load(task, 1000, Purpose.TRAIN).rows();
    LoadedRows cut = load(task, 20, Purpose.TRAIN);
    assertEquals(2, cut.rows().size());
    Row row = cut.rows().row(1);
    Row full = whole.row(1);
    assertEquals(20, row.length());
    assertEquals(tokenizer.bosId(), row.inputIds()[0]);
    for (int i = 1; i < 20; i++) {
      assertEquals(full.inputIds()[full.length() - 20 + i], row.inputIds()[i]);
      assertEquals(full.labels()[full.length() - 20 + i], row.labels()[i]);
    }
    TruncationReport.FileCounts counts = cut.report().total();
    assertEquals(3, counts.read());
    assertEquals(1, counts.truncated());
    assertEquals(full.length() - 20, counts.tokensCut());
    assertEquals(1, counts.emptyTarget());
    assertTrue(cut.report().warnings().get(0).contains("1 truncated"));
    assertTrue(load(task, 1000, Purpose.TRAIN).report().total().truncated() == 0);
  }

  @Test
  void keepsEveryRowWholeForScoring() throws IOException {
    Task task =
        task(
            "a.jsonl",
            "{\"prompt\": \"short\", \"target\": \"\"}",
            "{\"prompt\": \"" + "camel ".repeat(100) + "\", \"target\": \"ok\"}");
    LoadedRows rows = load(task, 1000, Purpose.SCORE);
    assertEquals(2, rows.rows().size());
    UserError error = assertThrows(UserError.class, () -> load(task, 20, Purpose.SCORE));
    assertTrue(error.getMessage().contains("a.jsonl:2: "), error.getMessage());
    assertTrue(error.getMessage().contains("more than sequence.length = 20"), error.getMessage());
  }

  @Test
  void refusesToTrainWhenEveryTargetIsEmptyOrCut() throws IOException {
    Task empty = task("a.jsonl", "{\"prompt\": \"p\", \"target\": \"\"}");
    assertTrue(
        assertThrows(UserError.class, () -> load(empty, 20, Purpose.TRAIN))
            .getMessage()
            .contains("1 have no target"));
    Task cut = task("b.jsonl", "{\"prompt\": \"p\", \"target\": \"t\"}");
    assertTrue(
        assertThrows(UserError.class, () -> load(cut, 1, Purpose.TRAIN))
            .getMessage()
            .contains("1 lost it to truncation"));
  }

  @Test
  void cutsTextIntoRowsThatLearnEveryTokenOnce() throws IOException {
    String text = "the caravan walks slowly across a wide desert ".repeat(30);
    Task task = task("a.txt", text);
    int[] whole = load(task, 10_000, Purpose.TRAIN).rows().row(0).inputIds();
    RowSet rows = load(task, 16, Purpose.TRAIN).rows();
    List<Integer> learnt = new ArrayList<>();
    for (int i = 0; i < rows.size(); i++) {
      Row row = rows.row(i);
      assertTrue(row.length() <= 16 && row.targets() == row.length() - 1);
      for (int at = 1; at < row.length(); at++) {
        learnt.add(row.labels()[at]);
      }
    }
    assertArrayEquals(
        Arrays.copyOfRange(whole, 1, whole.length),
        learnt.stream().mapToInt(Integer::intValue).toArray());
  }

  @Test
  void loadsFilesOfDifferentFormatsInOrder() throws IOException {
    task("a.jsonl", "{\"prompt\": \"p\", \"target\": \"t\"}");
    task("b.tsv", "q\ta\tr");
    task("c.jsonl", "{\"input_ids\": [1, 5, 6], \"labels\": [-100, 5, 6]}");
    task(
        "d.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\","
            + " \"content\": \"a\"}]}");
    Task all =
        new Task(List.of(folder + "/*.{jsonl,tsv}"), Format.AUTO, Map.of(), Optional.empty());
    RowSet rows = load(all, 100, Purpose.TRAIN).rows();
    assertEquals(4, rows.size());
    assertTrue(tokenizer.decode(rows.row(0).inputIds()).startsWith("p\nt"));
    assertTrue(tokenizer.decode(rows.row(1).inputIds()).startsWith("Q: q\nA: Let's think"));
    assertArrayEquals(new int[] {1, 5, 6}, rows.row(2).inputIds());
    assertTrue(tokenizer.decode(rows.row(3).inputIds()).startsWith("User: u\nAssistant: a"));
    assertEquals(folder.resolve("d.jsonl") + ":1", rows.where(3));
  }

  @Test
  void isTheSameForManyRowsWhateverTheCores() throws IOException {
    String[] lines = new String[5000];
    for (int i = 0; i < lines.length; i++) {
      lines[i] = "{\"prompt\": \"number " + i + "\", \"target\": \"" + (i + 1) + "\"}";
    }
    RowSet rows = load(task("a.jsonl", lines), 100, Purpose.TRAIN).rows();
    assertEquals(5000, rows.size());
    for (int i = 0; i < 5000; i += 617) {
      assertEquals("number " + i + "\n" + (i + 1), tokenizer.decode(rows.row(i).inputIds()));
      assertTrue(rows.where(i).endsWith(":" + (i + 1)));
    }
  }

  @Test
  void namesFileAndLineOfWhatDoesNotFit() throws IOException {
    Task mismatch =
        task("a.jsonl", "{\"prompt\": \"p\", \"target\": \"t\"}").withTemplate("flan-cot");
    assertTrue(
        assertThrows(UserError.class, () -> load(mismatch, 20, Purpose.TRAIN))
            .getMessage()
            .contains("a.jsonl:1: template 'flan-cot' needs a field 'question'"));
    Task plain = task("b.jsonl", "", "{\"prompt\": \"p\", \"target\": \"t\"}");
    String outside =
        assertThrows(
                UserError.class,
                () -> RowLoader.load(plain, tokenizer, RowLimits.ofSequence(20, 10), Purpose.TRAIN))
            .getMessage();
    assertTrue(outside.contains("b.jsonl:2: token id "), outside);
    assertTrue(outside.contains("vocabulary of 10"), outside);
    String without =
        assertThrows(
                UserError.class,
                () -> RowLoader.load(plain, null, RowLimits.ofSequence(20, 10), Purpose.TRAIN))
            .getMessage();
    assertTrue(without.contains("needs a tokenizer"), without);
    assertFalse(without.contains("\n"));
  }
}
