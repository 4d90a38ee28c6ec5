package dev.caravan.data.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.TestData;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Ids and texts as the real libraries give them: on the project's tiny tokenizers (make.py) and on
 * the public ones.
 */
class GoldenTokenizersTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static Path tiny(String name) {
    return Path.of("src/test/resources/tokenizers").resolve(name);
  }

  private static int[] ints(JsonNode node) {
    return JSON.convertValue(node, int[].class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "bpe.model",
        "unigram.model",
        "bytelevel/tokenizer.json",
        "metaspace/tokenizer.json"
      })
  void tinyTokenizersAgreeWithTheirLibraries(String name) throws IOException {
    JsonNode golden = JSON.readTree(tiny("golden.json").toFile()).get(name);
    try (Tokenizer tokenizer = Tokenizers.open(tiny(name))) {
      assertEquals(golden.get("size").asInt(), tokenizer.vocabSize());
      for (JsonNode c : golden.get("cases")) {
        String text = c.get("text").asText();
        assertArrayEquals(ints(c.get("ids")), tokenizer.encode(text), "start: '" + text + "'");
        boolean stripped = name.startsWith("unigram") && text.startsWith(" ");
        if (!stripped) {
          assertArrayEquals(
              ints(c.get("follow")),
              tokenizer.encodeContinuation(text),
              "following: '" + text + "'");
        }
      }
      for (JsonNode d : golden.get("decodes")) {
        assertEquals(
            d.get("text").asText(), tokenizer.decode(ints(d.get("ids"))), d.get("ids").toString());
      }
    }
  }

  @Test
  void llama2cAgreesWithTheModelItWasWrittenFrom() throws IOException {
    JsonNode golden = JSON.readTree(tiny("golden.json").toFile()).get("bpe.model");
    try (Tokenizer tokenizer = Tokenizers.open(tiny("bpe.bin"))) {
      assertEquals(golden.get("size").asInt(), tokenizer.vocabSize());
      for (JsonNode c : golden.get("cases")) {
        String text = c.get("text").asText();
        if (!text.contains("\u2581")) {
          assertArrayEquals(ints(c.get("ids")), tokenizer.encode(text), "start: '" + text + "'");
          assertArrayEquals(
              ints(c.get("follow")),
              tokenizer.encodeContinuation(text),
              "following: '" + text + "'");
          assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "llama2/tokenizer.model, true, 1, 2, -1",
    "llama2/tokenizer.json, true, 1, 2, -1",
    "mistral/tokenizer.json, true, 1, 2, -1",
    "t5/spiece.model, false, -1, 1, 0",
    "t5/tokenizer.json, false, -1, 1, 0",
    "gpt2/tokenizer.json, false, 50256, 50256, -1",
    "seqio_test/sentencepiece.model, false, -1, 1, 0",
  })
  void publicTokenizersAgreeWithTheirLibraries(
      String name, boolean addsBos, int bos, int eos, int pad) throws IOException {
    Path file = TestData.publicData("tokenizers/" + name);
    JsonNode golden =
        JSON.readTree(TestData.publicData("tokenizers/golden.json").toFile()).get(name);
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      assertEquals(golden.get("vocab").asInt(), tokenizer.vocabSize());
      assertEquals(addsBos, tokenizer.addsBos());
      assertEquals(bos, tokenizer.bosId());
      assertEquals(eos, tokenizer.eosId());
      assertEquals(pad, tokenizer.padId());
      // The goldens of tokenizer.json files have what the file's template adds; T5's adds an end
      // token.
      boolean json = name.endsWith(".json");
      for (JsonNode c : golden.get("cases")) {
        String text = c.get("text").asText();
        int[] ids = tokenizer.encode(text, json && tokenizer.addsBos());
        if (name.equals("t5/tokenizer.json")) {
          ids = Arrays.copyOf(ids, ids.length + 1);
          ids[ids.length - 1] = tokenizer.eosId();
        }
        assertArrayEquals(ints(c.get("ids")), ids, "'" + text + "'");
        if (c.has("decoded")) {
          assertEquals(c.get("decoded").asText(), tokenizer.decode(ids), "'" + text + "'");
        }
      }
    }
  }

  @Test
  void llama2cVocabulariesAgree() throws IOException {
    JsonNode llama2 =
        JSON.readTree(TestData.publicData("tokenizers/golden.json").toFile())
            .get("llama2/tokenizer.model");
    try (Tokenizer tokenizer =
        Tokenizers.open(TestData.publicData("tokenizers/llama2/tokenizer.bin"))) {
      assertEquals(llama2.get("vocab").asInt(), tokenizer.vocabSize());
      for (JsonNode c : llama2.get("cases")) {
        String text = c.get("text").asText();
        assertArrayEquals(ints(c.get("ids")), tokenizer.encode(text), "'" + text + "'");
        assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
      }
    }
    Path folder = TestData.publicData("weights/stories260K");
    JsonNode stories = JSON.readTree(folder.resolve("golden.json").toFile());
    try (Tokenizer tokenizer = Tokenizers.open(folder.resolve("tok512.bin"))) {
      assertEquals(512, tokenizer.vocabSize());
      for (JsonNode prompt : stories.get("prompts")) {
        int[] ids = tokenizer.encode(prompt.get("prompt").asText(), true);
        assertArrayEquals(ints(prompt.get("prompt_ids")), ids);
        StringBuilder text = new StringBuilder(tokenizer.decode(ids));
        DecodeStream stream = tokenizer.decodeStream(ids);
        for (int id : ints(prompt.get("greedy_ids"))) {
          text.append(stream.add(id));
        }
        assertEquals(prompt.get("text").asText(), text.append(stream.flush()).toString());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama2/tokenizer.model", "llama2/tokenizer.json", "gpt2/tokenizer.json"})
  void continuationsJoinToTheWholeText(String name) {
    Random random = new Random(5);
    String text = "The caravan, 42 camels — naïve café 🙂👩‍👩‍👧\n\n日本語 and  two  spaces.\tEnd ";
    try (Tokenizer tokenizer = Tokenizers.open(TestData.publicData("tokenizers/" + name))) {
      for (int i = 0; i < 50; i++) {
        int cut =
            text.offsetByCodePoints(
                0, 1 + random.nextInt(text.codePointCount(0, text.length()) - 1));
        int[] head = tokenizer.encode(text.substring(0, cut));
        int[] tail = tokenizer.encodeContinuation(text.substring(cut));
        int[] both = Arrays.copyOf(head, head.length + tail.length);
        System.arraycopy(tail, 0, both, head.length, tail.length);
        assertEquals(text, tokenizer.decode(both), "cut at " + cut);
        StringBuilder streamed = new StringBuilder();
        DecodeStream stream = tokenizer.decodeStream(head);
        for (int id : tail) {
          streamed.append(stream.add(id));
        }
        assertEquals(
            text.substring(cut), streamed.append(stream.flush()).toString(), "cut at " + cut);
      }
    }
  }
}
