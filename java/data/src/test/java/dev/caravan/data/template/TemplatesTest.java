package dev.caravan.data.template;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TemplatesTest {
  private static final Example.Fields PROMPT = new Example.Fields(Map.of(), "2 + 2?", "4");
  private static final Example CHAT =
      chat(
          new Message(Role.SYSTEM, "Be brief."),
          new Message(Role.USER, "Hi"),
          new Message(Role.ASSISTANT, "Hello"),
          new Message(Role.USER, "Bye"),
          new Message(Role.ASSISTANT, "Farewell"));

  private static Example chat(Message... messages) {
    return new Example.Chat(List.of(messages));
  }

  /** The segments as one text: targets in «», BOS and EOS as ^ and $. */
  private static String marked(Template template, Example example) {
    StringBuilder text = new StringBuilder();
    for (Segment segment : template.render(example)) {
      String words;
      if (segment instanceof Segment.Text t) {
        words = t.text();
      } else if (segment instanceof Segment.Token t) {
        words = t.piece();
      } else {
        words = segment instanceof Segment.Bos ? "^" : "$";
      }
      if (!words.isEmpty()) {
        text.append(segment.target() ? "«" + words + "»" : words);
      }
    }
    return text.toString().replace("»«", "");
  }

  private static String marked(String template, Example example) {
    return marked(Templates.of(template), example);
  }

  @Test
  void fillsPatterns() {
    assertEquals("^2 + 2?\n«4$»", marked("plain", PROMPT));
    assertEquals("^2 + 2?«4$»", marked("verbatim", PROMPT));
    assertEquals("^Question: 2 + 2?\nAnswer:« 4$»", marked("qa", PROMPT));
    Example flan =
        new Example.Fields(
            Map.of("question", "Q?", "answer", "yes", "rationale", "Because."), "Q?", "x");
    assertEquals(
        "^Q: Q?\nA: Let's think step by step.\n«Because. The answer is yes.$»",
        marked("flan-cot", flan));
    assertEquals("^Q: Q?\nA:« yes$»", marked("flan-answer", flan));
  }

  @Test
  void writesAlpacaWithAndWithoutInput() {
    Example with =
        new Example.Fields(
            Map.of("instruction", "Add.", "input", "1 2", "output", "3"), "Add.\n1 2", "3");
    Example without =
        new Example.Fields(
            Map.of("instruction", "Greet.", "input", " ", "output", "Hi"), "Greet.", "Hi");
    assertTrue(
        marked("alpaca", with)
            .endsWith("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:«3$»"));
    assertTrue(
        marked("alpaca", without)
            .endsWith(" the request.\n\n### Instruction:\nGreet.\n\n### Response:«Hi$»"));
    assertTrue(marked("alpaca", PROMPT).contains("### Instruction:\n2 + 2?\n\n### Response:«4$»"));
  }

  @Test
  void writesChats() {
    assertEquals(
        "^<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            + "<|im_start|>assistant\n«Hello<|im_end|>»\n<|im_start|>user\nBye<|im_end|>\n"
            + "<|im_start|>assistant\n«Farewell<|im_end|>»\n",
        marked("chatml", CHAT));
    assertEquals(
        "^<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            + "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            + "<|start_header_id|>assistant<|end_header_id|>\n\n«Hello<|eot_id|>»"
            + "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            + "<|start_header_id|>assistant<|end_header_id|>\n\n«Farewell<|eot_id|>»",
        marked("llama3", CHAT));
    assertEquals(
        "^[INST] <<SYS>>\n"
            + "Be brief.\n"
            + "<</SYS>>\n\n"
            + "Hi [/INST]« Hello $»^[INST] Bye [/INST]« Farewell $»",
        marked("llama2", CHAT));
    assertEquals(
        "^[INST] Be brief.\n\nHi [/INST]« Hello$»[INST] Bye [/INST]« Farewell$»",
        marked("mistral", CHAT));
    assertEquals(
        "^Be brief.\nUser: Hi\nAssistant:« Hello$»User: Bye\nAssistant:« Farewell$»",
        marked("dialog", CHAT));
  }

  @Test
  void writesWhatTheQwenModelsExpect() {
    Example tool =
        chat(
            new Message(Role.USER, "Hi"),
            new Message(Role.ASSISTANT, "call"),
            new Message(Role.TOOL, "42"),
            new Message(Role.ASSISTANT, "Done"));
    assertEquals(
        "^<|im_start|>system\n"
            + "You are a helpful assistant.<|im_end|>\n"
            + "<|im_start|>user\n"
            + "Hi<|im_end|>\n"
            + "<|im_start|>assistant\n"
            + "«call<|im_end|>»\n"
            + "<|im_start|>user\n"
            + "<tool_response>\n"
            + "42\n"
            + "</tool_response><|im_end|>\n"
            + "<|im_start|>assistant\n"
            + "«Done<|im_end|>»\n",
        marked("qwen2", tool));
    assertTrue(marked("qwen2.5", tool).startsWith("^<|im_start|>system\nYou are Qwen, created by"));
    assertEquals(
        "^<|im_start|>user\n2 + 2?<|im_end|>\n"
            + "<|im_start|>assistant\n<think>\n\n</think>\n\n«4<|im_end|>»\n",
        marked("qwen3", PROMPT));
    assertEquals(
        "^<|im_start|>system\nBe brief.<|im_end|>\n",
        marked("qwen2", CHAT).substring(0, marked("qwen2", CHAT).indexOf("<|im_start|>user")));
  }

  @Test
  void teachesNothingFromBlankAnswers() {
    Example blank = chat(new Message(Role.USER, "Hi"), new Message(Role.ASSISTANT, " "));
    for (String name : List.of("chatml", "qwen3", "llama2", "llama3", "mistral", "dialog")) {
      assertTrue(Templates.of(name).render(blank).stream().noneMatch(Segment::target), name);
    }
  }

  @Test
  void givesThePromptAlone() {
    List<Segment> prompt = Templates.of("qa").prompt(PROMPT);
    assertEquals(
        List.of(new Segment.Bos(false), Segment.given("Question: 2 + 2?\nAnswer:")), prompt);
  }

  @Test
  void turnsAConversationOfOneTurnIntoAPrompt() {
    Example one = chat(new Message(Role.USER, "Hi"), new Message(Role.ASSISTANT, "Hello"));
    assertEquals("^Hi\n«Hello$»", marked("plain", one));
    String refusal = assertThrows(TemplateMismatch.class, () -> marked("plain", CHAT)).getMessage();
    assertTrue(refusal.contains("conversation of 5 messages"), refusal);
  }

  @Test
  void refusesWhatItHasNoWordsFor() {
    String needs =
        assertThrows(TemplateMismatch.class, () -> marked("flan-cot", PROMPT)).getMessage();
    assertEquals(
        "template 'flan-cot' needs a field 'question', the example has prompt, target", needs);
    Example twice = chat(new Message(Role.USER, "a"), new Message(Role.USER, "b"));
    String turns = assertThrows(TemplateMismatch.class, () -> marked("llama2", twice)).getMessage();
    assertTrue(turns.contains("message 2 is by user"), turns);
    assertThrows(TemplateMismatch.class, () -> marked("chatml", new Example.Text("x")));
  }

  @Test
  void readsTemplatesOfUsers(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("mine.yaml");
    Files.writeString(file, "prompt: \"{{{prompt}}} ->\"\ntarget: \" {target} {level}\"\n");
    Template template = Templates.of(file.toString());
    Example example = new Example.Fields(Map.of("level", "3"), "p", "t");
    assertEquals("^{p} ->« t 3$»", marked(template, example));
    assertEquals(
        "template '" + file + "' needs a field 'level', the example has prompt, target",
        assertThrows(TemplateMismatch.class, () -> marked(template, PROMPT)).getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "prompt: x | expected the keys prompt and target",
        "prompt: '{x'; target: y | '{' is never closed",
        "prompt: 'x}'; target: y | '}' closes nothing",
        "prompt: x; target: y; promt: z | unknown key 'promt', did you mean 'prompt'?",
        "prompt: x; target: y; target: z | bad.yaml:3: not valid YAML: Duplicate field 'target'",
        "prompt: x; target: y; exemplar: [z] | exemplar: got [\"z\"], needs a text",
        "prompt: [; | not valid YAML",
        "7 | expected the keys prompt and target",
      })
  void refusesFilesThatAreNoTemplates(String text, String fault, @TempDir Path folder)
      throws IOException {
    Path file = folder.resolve("bad.yaml");
    Files.writeString(file, text.replace("; ", "\n").replace(";", "\n"));
    String message =
        assertThrows(UserError.class, () -> Templates.of(file.toString())).getMessage();
    assertTrue(message.startsWith(file.toString()), message);
    assertTrue(message.contains(fault), message);
  }

  @Test
  void refusesUnknownNames() {
    String message = assertThrows(UserError.class, () -> Templates.of("lama3")).getMessage();
    assertTrue(message.contains("did you mean 'llama3'?"), message);
  }

  @ParameterizedTest
  @CsvSource({
    "{{'<|im_start|>' + m.role}}, chatml",
    "<|im_start|> You are a helpful assistant, qwen2",
    "<|im_start|> You are Qwen created by Alibaba Cloud, qwen2.5",
    "<|im_start|> <think>, qwen3",
    "<|start_header_id|>, llama3",
    "[INST] <<SYS>>, llama2",
    "[INST] [/INST], mistral",
  })
  void tellsKnownJinjaTemplates(String jinja, String name) {
    assertEquals(name, Templates.ofJinja(jinja).name());
  }

  @ParameterizedTest
  @CsvSource({
    "{{ messages }}",
    "<|start_header_id|> Cutting Knowledge Date",
    "[AVAILABLE_TOOLS][INST] x [/INST]",
    "[SYSTEM_PROMPT][INST] x [/INST]",
    "[INST]x[/INST]",
    "<|im_start|> You are a pirate"
  })
  void refusesOtherJinjaTemplatesNamingTheKnownOnes(String jinja) {
    String message = assertThrows(UserError.class, () -> Templates.ofJinja(jinja)).getMessage();
    assertTrue(message.contains("chatml") && message.contains("data.template"), message);
  }
}
