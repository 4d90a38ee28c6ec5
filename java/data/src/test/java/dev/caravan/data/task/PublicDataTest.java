package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.RowSet;
import dev.caravan.data.TestData;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Real files of every format come through whole, with the row counts that their makers state. */
class PublicDataTest {
  private static LoadedRows load(
      String path, Format format, Map<String, String> fields, int length) {
    Path file = TestData.publicData(path);
    try (Tokenizer tokenizer =
        Tokenizers.open(TestData.publicData("weights/stories260K/tok512.bin"))) {
      return RowLoader.load(
          new Task(List.of(file.toString()), format, fields, Optional.empty()),
          tokenizer,
          RowLimits.ofSequence(length, tokenizer.vocabSize()),
          Purpose.TRAIN);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "flan_cot, 20458",
    "flan_cot/gsm8k_train.tsv, 7473",
    "flan_cot/aqua_train.tsv, 2728",
    "flan_cot/ecqa_train.tsv, 7112",
    "flan_cot/strategyqa_train.tsv, 2061",
    "flan_cot/qasc_train.tsv, 1084",
    "instruct/alpaca_en_demo.json, 999",
    "instruct/instruction-data.json, 1100",
    "instruct/glaive_toolcall_en_demo.json, 300",
    "p3_t0/ag_news, 280",
    "commonsense/boolq, 3270",
  })
  void tellsFormatsAndReadsEveryRow(String path, int rows) {
    LoadedRows loaded = load(path, Format.AUTO, Map.of(), 1 << 16);
    TruncationReport.FileCounts total = loaded.report().total();
    assertEquals(rows, total.read());
    assertEquals(0, total.truncated());
    assertEquals(rows, total.kept() + total.emptyTarget());
    assertEquals(total.kept(), loaded.rows().size());
  }

  @Test
  void mapsFields() {
    Map<String, String> fields = Map.of("prompt", "question", "target", "answer");
    LoadedRows train = load("gsm8k/train.jsonl", Format.AUTO, fields, 512);
    assertEquals(7473, train.report().total().read());
    assertTrue(train.report().total().truncated() > 0);
    assertTrue(train.rows().maxLength() <= 512);
    LoadedRows nlu =
        load(
            "nlu/RTE/train.json",
            Format.PROMPT,
            Map.of("prompt", "sentence", "target", "label"),
            2048);
    assertEquals(2000, nlu.report().total().read());
  }

  @Test
  void readsTasksOfSuperNaturalInstructions() {
    int examples = 0;
    for (Path file : DataFiles.resolve(List.of(TestData.publicData("superni/tasks").toString()))) {
      try (ExampleReader reader = ExampleReader.open(file, Format.AUTO, Map.of())) {
        while (reader.next() != null) {
          examples++;
        }
      }
    }
    assertEquals(29_969, examples);
  }

  @Test
  void readsRawText() {
    LoadedRows c4 = load("pretrain_text/c4_demo.jsonl", Format.AUTO, Map.of(), 256);
    assertTrue(c4.rows().size() > c4.report().total().read());
    LoadedRows book = load("pretrain_text/wizard_of_oz.txt", Format.AUTO, Map.of(), 256);
    assertEquals(book.rows().totalTokens() - book.rows().size(), book.rows().totalTargets());
    try (Tokenizer tokenizer =
        Tokenizers.open(TestData.publicData("weights/stories260K/tok512.bin"))) {
      RowSet rows = book.rows();
      String start = tokenizer.decode(rows.row(0).inputIds());
      assertTrue(start.length() > 100, start);
    }
  }

  @Test
  void masksTheQuestionsOfGsm8k() {
    Map<String, String> fields = Map.of("prompt", "question", "target", "answer");
    LoadedRows train = load("gsm8k/train.jsonl", Format.AUTO, fields, 2048);
    try (Tokenizer tokenizer =
        Tokenizers.open(TestData.publicData("weights/stories260K/tok512.bin"))) {
      DecodedRow first = DecodedRow.of(train.rows().row(0), tokenizer);
      assertEquals(2, first.spans().size());
      String given = first.spans().get(0).text();
      String learnt =
          first.spans().stream()
              .filter(DecodedRow.Span::target)
              .map(DecodedRow.Span::text)
              .collect(Collectors.joining());
      assertTrue(given.endsWith("in April and May?\n"), given);
      assertTrue(learnt.endsWith("#### 72"), learnt);
      List<Integer> ids = first.spans().get(1).ids();
      assertEquals(tokenizer.eosId(), ids.get(ids.size() - 1));
    }
  }
}
