package dev.caravan.data.source;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ExampleReaderTest {
  @TempDir Path folder;

  private Path file(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text);
  }

  private static List<Example> read(Path file, Format format, Map<String, String> fields) {
    List<Example> examples = new ArrayList<>();
    try (ExampleReader reader = ExampleReader.open(file, format, fields)) {
      for (Example e = reader.next(); e != null; e = reader.next()) {
        examples.add(e);
      }
    }
    return examples;
  }

  private static Example only(Path file) {
    List<Example> examples = read(file, Format.AUTO, Map.of());
    assertEquals(1, examples.size());
    return examples.get(0);
  }

  private static void assertFields(String prompt, String target, Example example) {
    Example.Fields fields = assertInstanceOf(Example.Fields.class, example);
    assertEquals(prompt, fields.prompt());
    assertEquals(target, fields.target());
  }

  @Test
  void readsAlpacaWithAndWithoutInput() throws IOException {
    Path file =
        file(
            "a.json",
            "[{\"instruction\": \"Add.\", \"input\": \"1 2\", \"output\": \"3\"},\n"
                + " {\"instruction\": \"Greet.\", \"input\": \"\", \"output\": \"Hi\", \"text\":"
                + " \"x\"},\n"
                + " {\"instruction\": \"Count.\", \"input\": null, \"response\": 7}]");
    List<Example> examples = read(file, Format.AUTO, Map.of());
    assertFields("Add.\n1 2", "3", examples.get(0));
    assertFields("Greet.", "Hi", examples.get(1));
    assertFields("Count.", "7", examples.get(2));
    assertEquals("1 2", ((Example.Fields) examples.get(0)).values().get("input"));
  }

  @Test
  void readsObjectsOneAfterAnotherFromJson() throws IOException {
    Path file =
        file(
            "a.json",
            "{\"prompt\": \"a\", \"target\": \"1\"}\n{\"prompt\": \"b\", \"target\": \"2\"}\n");
    List<Example> examples = read(file, Format.AUTO, Map.of());
    assertEquals(2, examples.size());
    assertFields("b", "2", examples.get(1));
    assertEquals(List.of(), read(file("b.json", "[]"), Format.AUTO, Map.of()));
    assertEquals(List.of(), read(file("c.json", ""), Format.AUTO, Map.of()));
  }

  @Test
  void readsPromptsUnderSeveralNames() throws IOException {
    assertFields("p", "t", only(file("a.jsonl", "{\"prompt\": \"p\", \"target\": \"t\"}")));
    assertFields(
        "p", "t", only(file("b.jsonl", "{\"prompt\": \"p\", \"completion\": \"t<|endoftext|>\"}")));
    assertFields(
        "p,1",
        "say \"t\"\nx",
        only(file("c.csv", "prompt,target\r\n\"p,1\",\"say \"\"t\"\"\nx\"\r\n")));
    assertFields("p \\n", "t", only(file("d.tsv", "prompt\ttarget\np \\n\tt\n")));
    Map<String, String> fields = Map.of("prompt", "question", "target", "answer");
    Path mapped =
        file("e.jsonl", "{\"question\": \"q\", \"answer\": \"a\", \"prompt\": \"other\"}");
    assertFields("q", "a", read(mapped, Format.AUTO, fields).get(0));
    assertFields("q", "a", read(mapped, Format.PROMPT, fields).get(0));
  }

  @Test
  void readsConversations() throws IOException {
    Example.Chat openAi =
        (Example.Chat)
            only(
                file(
                    "a.jsonl",
                    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\":"
                        + " \"user\", \"content\": [{\"type\": \"text\", \"text\": \"u\"}]},"
                        + " {\"role\": \"assistant\", \"content\": \"\"}]}"));
    assertEquals(
        List.of(
            new Message(Role.SYSTEM, "s"),
            new Message(Role.USER, "u"),
            new Message(Role.ASSISTANT, "")),
        openAi.messages());
    Example.Chat shareGpt =
        (Example.Chat)
            only(
                file(
                    "b.json",
                    "[{\"conversations\": [{\"from\": \"human\", \"value\": \"u\"}, {\"from\":"
                        + " \"function_call\", \"value\": \"f\"}, {\"from\": \"observation\","
                        + " \"value\": \"o\"}, {\"from\": \"gpt\", \"value\": \"a\"}], \"tools\":"
                        + " \"[]\"}]"));
    assertEquals(
        List.of(Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT),
        shareGpt.messages().stream().map(Message::role).toList());
  }

  @Test
  void readsFlanWithoutQuotingAndWithEscapedLineFeeds() throws IOException {
    Path file =
        file("a_train.tsv", "Q \"1\\nOptions:\\n(A) x\t(A)\tBecause\\nof it.\nQ2\tyes\tSo.\n");
    List<Example> examples = read(file, Format.AUTO, Map.of());
    assertEquals(2, examples.size());
    assertFields("Q \"1\nOptions:\n(A) x", "Because\nof it. The answer is (A).", examples.get(0));
  }

  @Test
  void readsSuperNaturalInstructions() throws IOException {
    Path file =
        file(
            "task1.json",
            "{\"Definition\": [\"Do it.\"], \"Instances\": [{\"input\": \"i\", \"output\": [\"o\","
                + " \"p\"]}, {\"input\": \"j\", \"output\": \"q\"}]}");
    List<Example> examples = read(file, Format.AUTO, Map.of());
    assertFields("Do it.\n\ni", "o", examples.get(0));
    assertFields("Do it.\n\nj", "q", examples.get(1));
    assertEquals(List.of("p"), ((Example.Fields) examples.get(0)).alternatives());
    assertEquals(List.of(), ((Example.Fields) examples.get(1)).alternatives());
    try (ExampleReader reader = ExampleReader.open(file, Format.SUPERNI, Map.of())) {
      reader.next();
      reader.next();
      assertEquals(2, reader.line());
    }
  }

  /** As Hugging Face's data sets have answers and choices. */
  @Test
  void fieldsOfObjectsHaveTheirNameBefore() throws IOException {
    Path file =
        file(
            "a.jsonl",
            "{\"question\": \"q\", \"choices\": {\"text\": [\"one\", \"two\"], \"label\": [1, 2],"
                + " \"more\": {\"deep\": true}}, \"rows\": [{\"a\": 1}], \"none\": null}");
    Example.Fields fields = (Example.Fields) read(file, Format.RECORD, Map.of()).get(0);
    assertEquals(
        Map.of(
            "question",
            "q",
            "choices.text",
            "one\ntwo",
            "choices.label",
            "1\n2",
            "choices.more.deep",
            "true"),
        fields.values());
  }

  @Test
  void readsText() throws IOException {
    assertEquals(new Example.Text("one\ntwo\n"), only(file("a.txt", "one\r\ntwo")));
    assertEquals(new Example.Text("t"), only(file("a.jsonl", "{\"text\": \"t\"}")));
    assertEquals(List.of(), read(file("b.txt", ""), Format.AUTO, Map.of()));
    String big = ("x".repeat(999) + "\n").repeat(2500);
    List<Example> pieces = read(file("big.txt", big), Format.AUTO, Map.of());
    assertEquals(3, pieces.size());
    StringBuilder whole = new StringBuilder();
    for (int i = 0; i < 3; i++) {
      Example.Text piece = (Example.Text) pieces.get(i);
      assertEquals(i == 0, piece.begins());
      assertEquals(i == 2, piece.ends());
      whole.append(piece.text());
    }
    assertEquals(big, whole.toString());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "a.jsonl | PROMPT | {\"prompt\": \"p\", \"target\": \"t\"}; {\"prompt\": \"p\"} | :2: no"
            + " field 'target'; expected prompt, target, got prompt",
        "a.jsonl | PROMPT | {\"prompt\": [1], \"target\": \"t\"} | :1: field 'prompt' is not text"
            + " but a list",
        "a.jsonl | PROMPT | {\"prompt\": \"p\", \"target\": null} | :1: field 'target' is not"
            + " text but null",
        "a.jsonl | PROMPT | {\"prompt\": \"p\", \"target\": \"t\", \"prompt\": \"q\"} | :1: not valid"
            + " JSON (column 42: Duplicate field 'prompt'); expected",
        "a.json | PROMPT | [{\"prompt\": \"p\",;\"target\": \"t\", \"target\": \"u\"}] | :2: not valid"
            + " JSON (column 26: Duplicate field 'target'); expected",
        "a.jsonl | PROMPT | ; ;{\"prompt\": \"p | :3: not valid JSON",
        "a.jsonl | PROMPT | {} {} | :1: not valid JSON",
        "a.jsonl | PROMPT | {\"prompt\": NaN} | :1: not valid JSON (column 15: Non-standard token"
            + " 'NaN'); expected",
        "a.jsonl | PROMPT | {\"a\": <deep> | :1: too much JSON (Document nesting depth"
            + " (1001) exceeds the maximum allowed (1000)); expected",
        "a.jsonl | PROMPT | 7 | :1: not a JSON object",
        "a.jsonl | ALPACA | {\"instruction\": \"i\", \"input\": {}, \"output\": \"o\"} | :1: field"
            + " 'input' is not text but an object",
        "a.json | ALPACA | [;{\"instruction\": \"i\", \"output\": \"o\"},;7] | :3: not a JSON"
            + " object",
        "a.json | ALPACA | [{\"instruction\": \"i\", \"output\": \"o\"} | :1: not valid JSON",
        "a.json | ALPACA | [{\"instruction\": \"i\", \"output\": \"o\"}];{} | :2: more after the"
            + " end of the list",
        "a.jsonl | MESSAGES | {\"text\": \"x\"} | :1: no field 'messages'",
        "a.jsonl | MESSAGES | {\"messages\": []} | :1: the messages are not a list with at least"
            + " one",
        "a.jsonl | MESSAGES | {\"messages\": [{\"role\": \"user\"}]} | :1: message 1: expected",
        "a.jsonl | MESSAGES | {\"messages\": [{\"role\": \"boss\", \"content\": \"x\"}]} | :1:"
            + " message 1: unknown role 'boss'",
        "a.tsv | FLAN | q<tab>a<tab>r;q<tab>a | :2: 2 tab-separated fields, expected 3: question,"
            + " answer, rationale",
        "a.csv | PROMPT | prompt,target;p,t,u | :2: 3 fields, but the header has 2",
        "a.csv | PROMPT | prompt,target;\"p,t | :2: a quoted field that never ends",
        "a.csv | PROMPT | prompt,target;\"p\"x,t | :2: text behind the closing quote of field 1",
        "a.csv | PROMPT | prompt,target,prompt;p,t,u | :1: columns 1 and 3 are both called 'prompt'",
        "a.tsv | PROMPT | prompt<tab>target<tab>target | :1: columns 2 and 3 are both called",
        "a.json | SUPERNI | {\"Definition\": \"d\"} | :1: no Definition and Instances",
        "a.json | SUPERNI | {\"Definition\": \"d\", \"Instances\": [{\"input\": \"i\"}]} | :1:"
            + " instance 1: expected",
        "a.jsonl | AUTO | {\"question\": \"q\", \"answer\": \"a\"} | :1: the format cannot be told"
            + " from the fields question, answer",
        "a.jsonl | AUTO | {\"prompt\": \"p\", \"target\": \"t\", \"messages\": []} | fit several"
            + " formats: messages, prompt",
        "a.tsv | AUTO | q<tab>a | :1: 2 tab-separated columns and no header",
        "a.parquet | AUTO | x | not a Parquet file that can be read",
        "a.xml | AUTO | x | unknown ending 'xml'",
      })
  void namesFileLineAndFault(String name, String format, String text, String fault)
      throws IOException {
    Path file =
        file(
            name,
            text == null
                ? ""
                : text.replace(";", "\n")
                    .replace("<tab>", "\t")
                    .replace("<deep>", "[".repeat(1001)));
    UserError error =
        assertThrows(UserError.class, () -> read(file, Format.valueOf(format), Map.of()));
    assertTrue(error.getMessage().startsWith(file.toString()), error.getMessage());
    assertTrue(error.getMessage().contains(fault), error.getMessage());
    assertFalse(error.getMessage().contains("\n"), error.getMessage());
  }

  @Test
  void refusesFieldsThatAFormatDoesNotHave() throws IOException {
    Path file = file("a.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}");
    UserError error =
        assertThrows(UserError.class, () -> read(file, Format.PROMPT, Map.of("promt", "question")));
    assertTrue(error.getMessage().contains("did you mean 'prompt'?"), error.getMessage());
    assertThrows(UserError.class, () -> read(file, Format.FLAN, Map.of("question", "q")));
    UserError missing =
        assertThrows(
            UserError.class,
            () -> read(file, Format.PROMPT, Map.of("prompt", "question", "target", "solution")));
    assertEquals(
        file + ":1: no field 'solution'; expected question, solution, got question, answer",
        missing.getMessage());
  }
}
