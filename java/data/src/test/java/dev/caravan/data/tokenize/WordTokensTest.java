package dev.caravan.data.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.TestData;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokens of known words against those of the library for the whole text. */
class WordTokensTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String LLAMA3 =
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

  /** What texts are put together from: words, and all that might reach over a cut between words. */
  private static final List<String> PIECES =
      List.of(
          " ", " ", " ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2581", " \u2581",
          "the", "The", "a", "caravan", "camels", "tokens", "is", "it's", "I'LL", "'s", "'", "\"", "don't",
          "1", "12", "12345", "3.14", "1,000", ".", ",", ";", "...", "?!", "(", ")", "<", ">", "#", "\\", "|",
          "naïve", "café", "e\u0301", "\u0301", "日本語", "Привет", "🙂", "👩‍👩‍👧", "ﬁ", "\u200b", "Ω", "ß",
          "<s>", "</s>", "<unk>", "<|endoftext|>", "<0x0A>", "\u0000", "\u007f", "~", "[INST]", "=", "==", "-", "--");

  @TempDir Path folder;

  private static Path tiny(String name) {
    return Path.of("src/test/resources/tokenizers").resolve(name);
  }

  private static String text(Random random) {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(30); i > 0; i--) {
      if (random.nextInt(12) == 0) {
        text.appendCodePoint(random.nextInt(0x80));
      } else {
        text.append(PIECES.get(random.nextInt(PIECES.size())));
      }
    }
    return text.toString();
  }

  private static void assertTheSame(Path file) {
    Random random = new Random(11);
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.open(file)) {
      for (int i = 0; i < 3000; i++) {
        String text = text(random);
        assertArrayEquals(tokenizer.encodeWhole(text), tokenizer.encode(text), "'" + text + "'");
        assertArrayEquals(
            tokenizer.continueWhole(text), tokenizer.encodeContinuation(text), "'" + text + "'");
      }
    }
  }

  private static boolean splits(Path file) {
    return TokenizerJson.read(file).splitsAtSpaces();
  }

  @ParameterizedTest
  @ValueSource(strings = {"bytelevel/tokenizer.json", "metaspace/tokenizer.json"})
  void tinyTokenizers(String name) {
    assertTheSame(tiny(name));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gpt2/tokenizer.json",
        "llama2/tokenizer.json",
        "mistral/tokenizer.json",
        "t5/tokenizer.json"
      })
  void publicTokenizers(String name) {
    Path file = TestData.publicData("tokenizers/" + name);
    assertTheSame(file);
    assertEquals(!name.startsWith("t5"), splits(file));
  }

  /** The tiny byte-level tokenizer with another way to split and to normalize. */
  private Path changed(String normalizer, String preTokenizer) throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(tiny("bytelevel/tokenizer.json").toFile());
    json.set("normalizer", JSON.readTree(normalizer));
    json.set("pre_tokenizer", JSON.readTree(preTokenizer));
    Path file = folder.resolve("tokenizer.json");
    Files.write(file, JSON.writeValueAsBytes(json));
    return file;
  }

  private static String split(String pattern) throws IOException {
    return """
        {"type": "Sequence", "pretokenizers": [
          {"type": "Split", "pattern": {"Regex": %s}, "behavior": "Isolated", "invert": false},
          {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}
        """
        .formatted(JSON.writeValueAsString(pattern));
  }

  @ParameterizedTest
  @ValueSource(strings = {"{1,3}", ""})
  void patternsOfLlama3AndQwen(String digits) throws IOException {
    Path file = changed("{\"type\": \"NFC\"}", split(LLAMA3.replace("{1,3}", digits)));
    assertTrue(splits(file));
    assertTheSame(file);
  }

  @Test
  void aPrefixSpaceIsThatOfTheStartAlone() throws IOException {
    Path file =
        changed(
            "null", "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true}");
    assertTrue(splits(file));
    assertTheSame(file);
  }

  @Test
  void whatIsNotKnownIsEncodedAsAWhole() throws IOException {
    assertFalse(splits(changed("null", split("\\S+ \\S+|\\s+"))));
    assertFalse(splits(changed("{\"type\": \"NFKC\"}", split(LLAMA3))));
    assertFalse(splits(changed("null", "null")));
    assertTheSame(changed("null", split("\\S+ \\S+|\\s+")));
  }

  @Test
  void tokensThatTakeTheSpacesAroundThemAreLeftToTheLibrary() throws IOException {
    ObjectNode json = (ObjectNode) JSON.readTree(tiny("bytelevel/tokenizer.json").toFile());
    Path file = folder.resolve("tokenizer.json");
    Files.write(file, JSON.writeValueAsBytes(json));
    assertTrue(splits(file));
    for (String setting : List.of("lstrip", "rstrip", "single_word")) {
      ObjectNode changed = json.deepCopy();
      ((ObjectNode) changed.path("added_tokens").path(0)).put(setting, true);
      Files.write(file, JSON.writeValueAsBytes(changed));
      assertFalse(splits(file), setting);
      assertTheSame(file);
    }
  }

  @Test
  void severalThreadsGetTheSame() {
    Random random = new Random(3);
    List<String> texts = IntStream.range(0, 500).mapToObj(i -> text(random)).toList();
    try (HuggingFaceTokenizer tokenizer =
        HuggingFaceTokenizer.open(tiny("bytelevel/tokenizer.json"))) {
      IntStream.range(0, 4 * texts.size())
          .parallel()
          .forEach(
              i -> {
                String text = texts.get(i % texts.size());
                assertArrayEquals(tokenizer.encodeWhole(text), tokenizer.encode(text), text);
              });
    }
  }
}
