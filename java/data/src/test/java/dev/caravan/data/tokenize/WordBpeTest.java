package dev.caravan.data.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.TestData;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Words that are merged here against the same words merged by the library. */
class WordBpeTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final List<String> PARTS =
      List.of(
          "the", "ing", "tion", "er", "A", "IN", "'s", "'LL", "'", "n't", "12", "345", "0", ".",
          ",", "...", "?!", "(", "\"", "  ", "    ", "\n", "\n\n", "\t", "\r\n", "\\", "==", "-",
          "_", "#", "~");

  @TempDir Path folder;

  private static Path tiny(String name) {
    return Path.of("src/test/resources/tokenizers").resolve(name);
  }

  /** As WordTokens cuts them: a space comes first, if there is one before something else. */
  private static String piece(Random random) {
    StringBuilder piece = new StringBuilder(random.nextInt(3) > 0 ? " " : "");
    for (int i = random.nextInt(8); i >= 0; i--) {
      piece.append(
          switch (random.nextInt(3)) {
            case 0 -> PARTS.get(random.nextInt(PARTS.size()));
            case 1 -> String.valueOf((char) ('!' + random.nextInt('~' - '!' + 1)));
            default -> String.valueOf((char) ('a' + random.nextInt(26)));
          });
    }
    return piece.toString();
  }

  private static void assertMergesAsTheLibrary(Path file) {
    TokenizerJson json = TokenizerJson.read(file);
    WordBpe bpe = WordBpe.of(json);
    assertNotNull(bpe);
    Random random = new Random(5);
    try (HuggingFaceTokenizer tokenizer = HuggingFaceTokenizer.open(file)) {
      for (int i = 0; i < 10_000; i++) {
        String piece = piece(random);
        assertArrayEquals(tokenizer.continueWhole(piece), bpe.encode(piece), "'" + piece + "'");
      }
      for (String name : json.ids().keySet()) {
        String piece = name.replace('\u0120', ' ').replace('\u2581', ' ');
        if (piece.chars().allMatch(c -> WordBpe.isPlain((char) c)) && !piece.startsWith("<")) {
          assertArrayEquals(tokenizer.continueWhole(piece), bpe.encode(piece), "'" + piece + "'");
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"bytelevel/tokenizer.json", "metaspace/tokenizer.json"})
  void tinyTokenizers(String name) {
    assertMergesAsTheLibrary(tiny(name));
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "llama2", "mistral"})
  void publicTokenizers(String name) {
    assertMergesAsTheLibrary(TestData.publicData("tokenizers/" + name + "/tokenizer.json"));
  }

  private Path written(JsonNode json) throws IOException {
    Path file = folder.resolve("tokenizer.json");
    Files.write(file, JSON.writeValueAsBytes(json));
    return file;
  }

  private static ObjectNode tinyJson() throws IOException {
    return (ObjectNode) JSON.readTree(tiny("bytelevel/tokenizer.json").toFile());
  }

  private static ObjectNode model(ObjectNode json) {
    return (ObjectNode) json.path("model");
  }

  @Test
  void aWordThatIsATokenIsNotMergedWhereTheFileSaysSo() throws IOException {
    ObjectNode json = tinyJson();
    int id = TokenizerJson.read(tiny("bytelevel/tokenizer.json")).size();
    model(json).put("ignore_merges", true);
    ((ObjectNode) model(json).path("vocab")).put("\u0120zqxjz", id);
    Path file = written(json);
    assertArrayEquals(new int[] {id}, WordBpe.of(TokenizerJson.read(file)).encode(" zqxjz"));
    assertMergesAsTheLibrary(file);
  }

  @Test
  void mergesAreTextsOrPairs() throws IOException {
    ObjectNode json = tinyJson();
    ArrayNode merges = (ArrayNode) model(json).path("merges");
    ArrayNode other = JSON.createArrayNode();
    boolean texts = merges.path(0).isTextual();
    for (JsonNode merge : merges) {
      if (texts) {
        other.add(JSON.valueToTree(merge.asText().split(" ")));
      } else {
        other.add(merge.path(0).asText() + " " + merge.path(1).asText());
      }
    }
    model(json).set("merges", other);
    assertMergesAsTheLibrary(written(json));
  }

  @Test
  void charactersThatAreNotPlainAreTheLibrarys() {
    WordBpe bpe = WordBpe.of(TokenizerJson.read(tiny("bytelevel/tokenizer.json")));
    for (String piece :
        List.of("na\u00efve", "a\u0000", "\u007f", "\u2581", " \ud83d\ude42", "\u0001")) {
      assertNull(bpe.encode(piece), piece);
    }
  }

  @Test
  void aTokenizerWithTwoIdsForANameOrWithoutACharacterIsTheLibrarys() throws IOException {
    ObjectNode json = tinyJson();
    ObjectNode vocab = (ObjectNode) model(json).path("vocab");
    assertTrue(vocab.has("q"));
    ObjectNode twice = json.deepCopy();
    ObjectNode added = ((ArrayNode) twice.path("added_tokens")).path(0).deepCopy();
    ((ArrayNode) twice.path("added_tokens")).add(added.put("content", "q").put("id", 9999));
    assertNull(WordBpe.of(TokenizerJson.read(written(twice))));
    vocab.remove("q");
    assertNull(WordBpe.of(TokenizerJson.read(written(json))));
  }
}
