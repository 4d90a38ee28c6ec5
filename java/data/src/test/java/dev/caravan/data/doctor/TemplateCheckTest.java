package dev.caravan.data.doctor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.TestData;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TemplateCheckTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String TINY = "/tokenizers/metaspace/tokenizer.json";

  @TempDir Path folder;

  /** Makes a space of a line break, leaves '#' out, and has no bytes for what it lacks. */
  private Tokenizer lossy() throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(TestData.copy(folder, TINY).toFile());
    ArrayNode steps = (ArrayNode) json.path("normalizer").path("normalizers");
    steps.insert(
        0, JSON.readTree("{\"type\":\"Replace\",\"pattern\":{\"String\":\"#\"},\"content\":\"\"}"));
    steps.insert(
        0,
        JSON.readTree("{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\n\"},\"content\":\" \"}"));
    ((ObjectNode) json.path("model")).put("byte_fallback", false).put("unk_token", "<unk>");
    Path file = folder.resolve("tokenizer.json");
    Files.write(file, JSON.writeValueAsBytes(json));
    return Tokenizers.open(file);
  }

  private static Template words(String prompt, String target) {
    return Templates.pattern("mine", prompt, Optional.empty(), target);
  }

  private static String writes(Template template) {
    return String.join("", template.literals());
  }

  private static List<Finding> of(Tokenizer tokenizer, Template template, String more) {
    TemplateCheck check = new TemplateCheck(tokenizer);
    check.add("task a", template.name(), writes(template) + more);
    return check.findings();
  }

  @Test
  void eachTemplateIsToldOnceWithAllThatIsNotKept() throws IOException {
    try (Tokenizer tokenizer = lossy()) {
      TemplateCheck check = new TemplateCheck(tokenizer);
      Template bad = words("# {prompt}\n\u03a9 ", "{target}\n");
      check.add("task a", bad.name(), writes(bad));
      check.add("task b", bad.name(), writes(bad));
      check.add("task c", "mine", writes(words("the {prompt} is", " {target}")));
      List<Finding> findings = check.findings();
      assertEquals(1, findings.size(), findings.toString());
      Finding finding = findings.get(0);
      assertFalse(finding.isSerious());
      assertEquals("template", finding.check());
      assertEquals("template 'mine' of task a and 1 more", finding.where());
      assertTrue(finding.what().contains("a line break (made a space)"), finding.what());
      assertTrue(finding.what().contains("'#' (left out)"), finding.what());
      assertTrue(finding.what().contains("'\u03a9' (unknown)"), finding.what());
    }
  }

  @Test
  void whatStandsBesideTheWordsCounts() throws IOException {
    try (Tokenizer tokenizer = lossy()) {
      Template good = words("the {prompt} is", " {target}");
      assertEquals(List.of(), of(tokenizer, good, ""));
      assertEquals(1, of(tokenizer, good, "\n").size());
      assertEquals(1, of(tokenizer, Templates.of("dialog"), "").size());
      assertEquals(1, of(tokenizer, Templates.inChat(good, "dialog"), "").size());
    }
  }

  @Test
  void aTokenizerOfBytesKeepsAll() {
    try (Tokenizer tokenizer = Tokenizers.open(TestData.copy(folder, TINY))) {
      for (String name : Templates.names()) {
        assertEquals(List.of(), of(tokenizer, Templates.of(name), "\n"), name);
      }
    }
  }

  @Test
  void t5HasNoLineBreak() {
    Path file = TestData.publicData("tokenizers/t5/tokenizer.json");
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      String what = of(tokenizer, Templates.of("qa"), "").get(0).what();
      assertTrue(what.endsWith(": a line break (made a space)"), what);
      what = of(tokenizer, words("{{{prompt}}}", " {target}"), "").get(0).what();
      assertTrue(what.endsWith(": '{' '}' (unknown)"), what);
    }
  }
}
