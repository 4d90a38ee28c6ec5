package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RowEncoderTest {
  @TempDir Path folder;

  private Tokenizer open(String name) {
    return Tokenizers.open(TestData.copy(folder, "/tokenizers/" + name));
  }

  private static Row row(EncodedRow encoded) {
    return new Row(
        Arrays.copyOf(encoded.ids(), encoded.length()),
        Arrays.copyOf(encoded.labels(), encoded.length()),
        0);
  }

  /** The row's text with targets in «». */
  private static String marked(Row row, Tokenizer tokenizer) {
    return DecodedRow.of(row, tokenizer).spans().stream()
        .map(span -> span.target() ? "«" + span.text() + "»" : span.text())
        .collect(Collectors.joining());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"bpe.model", "bpe.bin", "metaspace/tokenizer.json", "bytelevel/tokenizer.json"})
  void masksThePromptAndLearnsTheResponseAndItsEnd(String name) {
    try (Tokenizer tokenizer = open(name)) {
      Example example = new Example.Fields(Map.of(), "How many camels? 🐪", "12  camels\nor so ");
      Row row = row(new RowEncoder(tokenizer).encode(example, Templates.of("qa")));
      assertEquals(
          "Question: How many camels? 🐪\nAnswer:« 12  camels\nor so »", marked(row, tokenizer));
      assertEquals(tokenizer.eosId(), row.labels()[row.length() - 1]);
      int bos = tokenizer.addsBos() ? 1 : 0;
      if (bos == 1) {
        assertEquals(tokenizer.bosId(), row.inputIds()[0]);
      }
      int[] prompt = tokenizer.encode("Question: How many camels? 🐪\nAnswer:");
      assertArrayEquals(prompt, Arrays.copyOfRange(row.inputIds(), bos, bos + prompt.length));
      for (int i = 0; i < row.length(); i++) {
        int expected = i < bos + prompt.length ? Row.NO_TARGET : row.inputIds()[i];
        assertEquals(expected, row.labels()[i], "label " + i);
      }
    }
  }

  @Test
  void learnsEveryAssistantTurnAndNothingElse() {
    TestData.copy(folder, "/tokenizers/bytelevel/tokenizer_config.json");
    try (Tokenizer tokenizer = open("bytelevel/tokenizer.json")) {
      Example chat =
          new Example.Chat(
              List.of(
                  new Message(Role.USER, "one"),
                  new Message(Role.ASSISTANT, "two"),
                  new Message(Role.USER, "three"),
                  new Message(Role.ASSISTANT, "four")));
      RowEncoder encoder = new RowEncoder(tokenizer);
      encoder.check(Templates.of("chatml"));
      Row row = row(encoder.encode(chat, Templates.of("chatml")));
      assertEquals(
          "user\none\nassistant\n«two»\nuser\nthree\nassistant\n«four»\n", marked(row, tokenizer));
      int end = tokenizer.id("<|im_end|>").getAsInt();
      long ends = Arrays.stream(row.inputIds()).filter(id -> id == end).count();
      long learntEnds = Arrays.stream(row.labels()).filter(id -> id == end).count();
      assertEquals(4, ends);
      assertEquals(2, learntEnds);
      assertEquals(tokenizer.bosId(), row.inputIds()[0]);
    }
  }

  @Test
  void neverDoublesBos() {
    try (Tokenizer tokenizer = open("metaspace/tokenizer.json")) {
      Example example = new Example.Fields(Map.of(), "<s>walk", "on");
      Row row = row(new RowEncoder(tokenizer).encode(example, Templates.of("plain")));
      assertEquals(1, Arrays.stream(row.inputIds()).filter(id -> id == tokenizer.bosId()).count());
      assertEquals(tokenizer.bosId(), row.inputIds()[0]);
    }
  }

  @Test
  void learnsEveryTokenOfRawText() {
    try (Tokenizer tokenizer = open("bpe.model")) {
      RowEncoder encoder = new RowEncoder(tokenizer);
      Row whole = row(encoder.encode(new Example.Text("seven camels"), null));
      assertEquals(tokenizer.bosId(), whole.inputIds()[0]);
      assertEquals(tokenizer.eosId(), whole.inputIds()[whole.length() - 1]);
      assertEquals(whole.length() - 1, whole.targets());
      Row middle = row(encoder.encode(new Example.Text("seven camels", false, false), null));
      assertArrayEquals(tokenizer.encodeContinuation("seven camels"), middle.inputIds());
    }
  }

  @Test
  void refusesATemplateWhoseTokensAreMissing() {
    try (Tokenizer tokenizer = open("bpe.model")) {
      UserError error =
          assertThrows(
              UserError.class, () -> new RowEncoder(tokenizer).check(Templates.of("chatml")));
      assertTrue(error.getMessage().contains("<|im_start|>"), error.getMessage());
    }
  }

  @Test
  void encodesAPromptAsTheRowsBegin() {
    try (Tokenizer tokenizer = open("bpe.model")) {
      RowEncoder encoder = new RowEncoder(tokenizer);
      Example example = new Example.Fields(Map.of(), "walk", "on");
      int[] prompt = encoder.encode(Templates.of("qa").prompt(example));
      Row row = row(encoder.encode(example, Templates.of("qa")));
      assertArrayEquals(prompt, Arrays.copyOf(row.inputIds(), prompt.length));
      assertEquals(Row.NO_TARGET, row.labels()[prompt.length - 1]);
      assertTrue(row.labels()[prompt.length] != Row.NO_TARGET);
    }
  }
}
