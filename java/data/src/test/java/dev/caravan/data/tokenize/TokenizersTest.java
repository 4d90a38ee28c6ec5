package dev.caravan.data.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.TestData;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizersTest {
  private static final String TINY = "/tokenizers/";

  @TempDir Path folder;

  private String refusal(Path path) {
    String message = assertThrows(UserError.class, () -> Tokenizers.open(path)).getMessage();
    assertTrue(message.startsWith(path.toString()), message);
    assertFalse(message.contains("\n"), message);
    return message;
  }

  @Test
  void findsTheTokenizerOfAFolder() {
    TestData.copy(folder, TINY + "bpe.bin");
    Path bin = folder.resolve("bpe.bin");
    try (Tokenizer tokenizer = Tokenizers.open(bin)) {
      assertInstanceOf(Llama2cTokenizer.class, tokenizer);
    }
    assertTrue(refusal(folder).contains("no tokenizer in it"));
    TestData.copy(folder, TINY + "bpe.model");
    try (Tokenizer tokenizer = Tokenizers.open(folder)) {
      assertInstanceOf(SentencePieceTokenizer.class, tokenizer);
    }
    TestData.copy(folder, TINY + "metaspace/tokenizer.json");
    try (Tokenizer tokenizer = Tokenizers.open(folder)) {
      assertInstanceOf(HuggingFaceTokenizer.class, tokenizer);
    }
  }

  @Test
  void readsTheSmallFilesBesideATokenizer() {
    Path file =
        TestData.copy(
            folder,
            TINY + "bytelevel/tokenizer.json",
            TINY + "bytelevel/tokenizer_config.json",
            TINY + "bytelevel/generation_config.json");
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      assertEquals(tokenizer.id("<|begin|>").getAsInt(), tokenizer.bosId());
      assertEquals(tokenizer.id("<|im_end|>").getAsInt(), tokenizer.eosId());
      assertEquals(tokenizer.id("<|endoftext|>").getAsInt(), tokenizer.padId());
      assertTrue(tokenizer.addsBos());
      assertArrayEquals(new int[] {tokenizer.eosId(), tokenizer.padId()}, tokenizer.stopIds());
      assertTrue(tokenizer.id("no such piece").isEmpty());
    }
  }

  @Test
  void letsTheConfigurationSwitchBosOff() throws IOException {
    Path json = TestData.copy(folder, TINY + "metaspace/tokenizer.json");
    Path model = TestData.copy(folder, TINY + "bpe.model");
    for (Path file : new Path[] {json, model}) {
      try (Tokenizer tokenizer = Tokenizers.open(file)) {
        assertTrue(tokenizer.addsBos());
        assertEquals(1, tokenizer.bosId());
        assertEquals(2, tokenizer.eosId());
        int[] ids = tokenizer.encode("a");
        int[] withBos = tokenizer.encode("a", true);
        assertEquals(1, withBos[0]);
        assertArrayEquals(ids, Arrays.copyOfRange(withBos, 1, withBos.length));
      }
    }
    Files.writeString(
        folder.resolve("tokenizer_config.json"),
        "{\"add_bos_token\": false, \"bos_token\": \"<s>\", \"eos_token\": {\"content\":"
            + " \"</s>\"}}");
    for (Path file : new Path[] {json, model}) {
      try (Tokenizer tokenizer = Tokenizers.open(file)) {
        assertFalse(tokenizer.addsBos());
        assertEquals(2, tokenizer.eosId());
      }
    }
  }

  @Test
  void takesEndTokensFromTheModelsConfiguration() throws IOException {
    Path file = TestData.copy(folder, TINY + "bytelevel/tokenizer.json");
    Files.writeString(
        folder.resolve("config.json"), "{\"eos_token_id\": 2, \"bos_token_id\": null}");
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      assertEquals(2, tokenizer.eosId());
      assertEquals(Tokenizer.NONE, tokenizer.bosId());
      assertFalse(tokenizer.addsBos());
    }
  }

  @Test
  void encodesBeyondTheTruncationThatAFileAsksFor() {
    Path file = TestData.copy(folder, TINY + "metaspace/tokenizer.json");
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      String text = "caravan ".repeat(2000);
      assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
      assertEquals(text, tokenizer.decode(tokenizer.encode(text, true)));
    }
  }

  @Test
  void holdsBackACharacterUntilItIsWhole() {
    Path file = TestData.copy(folder, TINY + "bpe.model");
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      int[] prompt = tokenizer.encode("ok", true);
      DecodeStream stream = tokenizer.decodeStream(prompt);
      int[] ids = tokenizer.encodeContinuation("🙂!");
      assertEquals(5, ids.length);
      assertEquals("", stream.add(ids[0]));
      assertEquals("", stream.add(ids[1]));
      assertEquals("", stream.add(ids[2]));
      assertEquals("🙂", stream.add(ids[3]));
      assertEquals("!", stream.add(ids[4]));
      assertEquals("", stream.add(ids[0]));
      assertEquals("\uFFFD", stream.flush());
    }
  }

  @Test
  void refusesIdsOutsideTheVocabulary() {
    TestData.copy(folder, TINY + "bpe.model", TINY + "bpe.bin", TINY + "bytelevel/tokenizer.json");
    for (String name : new String[] {"bpe.model", "bpe.bin", "tokenizer.json"}) {
      try (Tokenizer tokenizer = Tokenizers.open(folder.resolve(name))) {
        int size = tokenizer.vocabSize();
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {size}));
        assertThrows(IllegalArgumentException.class, () -> tokenizer.decode(new int[] {-1}));
      }
    }
  }

  @Test
  void refusesWhatIsNoTokenizer() throws IOException {
    assertTrue(refusal(folder.resolve("none")).contains("no such tokenizer"));
    assertTrue(refusal(file("a.txt", "x")).contains("not a tokenizer"));
    assertTrue(refusal(file("a.json", "{]")).contains("not valid JSON"));
    assertTrue(refusal(file("b.json", "{}")).contains("no model.vocab"));
    assertTrue(refusal(file("c.json", "[1]")).contains("no model.vocab"));
    String unknown = "{\"model\": {\"type\": \"New\", \"vocab\": {\"a\": 0}}}";
    assertTrue(refusal(file("d.json", unknown)).contains("not a tokenizer.json that can be run"));
    assertTrue(refusal(file("a.model", "plain text")).contains("SentencePiece"));
    assertTrue(refusal(file("b.model", "")).contains("no pieces"));
    assertTrue(refusal(file("a.bin", "")).contains("llama2.c"));
    assertTrue(refusal(file("b.bin", "plain text")).contains("llama2.c"));
  }

  private Path file(String name, String text) throws IOException {
    return Files.writeString(folder.resolve(name), text);
  }

  @ParameterizedTest
  @ValueSource(strings = {"bpe.model", "unigram.model", "bpe.bin", "metaspace/tokenizer.json"})
  void refusesTruncatedFiles(String name) throws IOException {
    byte[] whole = Files.readAllBytes(TestData.copy(folder, TINY + name));
    String ending = name.substring(name.lastIndexOf('.'));
    for (int keep = 1; keep < whole.length; keep += 1 + whole.length / 40) {
      Path cut = folder.resolve("cut" + ending);
      Files.write(cut, Arrays.copyOf(whole, keep));
      try (Tokenizer tokenizer = Tokenizers.open(cut)) {
        // A cut at the border of two entries can leave a smaller but whole vocabulary.
        assertTrue(tokenizer.vocabSize() < 420, "kept " + keep + " of " + whole.length + " bytes");
      } catch (UserError e) {
        assertTrue(e.getMessage().startsWith(cut.toString()), e.getMessage());
      }
    }
  }
}
