package dev.caravan.data.tokenize;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.UserError;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;

/**
 * What Caravan itself has to know of a {@code tokenizer.json}: the vocabulary, the added tokens,
 * what is put around a text, and whether the start of a text is marked with a space. The vocabulary
 * and merges are streamed over, never held as a tree.
 */
final class TokenizerJson {
  /** Names of a vocabulary come once: nothing is gained by keeping them for the whole process. */
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
          .build()
          .setCodec(new ObjectMapper());

  private final byte[] bytes;
  private final Map<String, Integer> ids = new HashMap<>();
  private JsonNode normalizer = NullNode.getInstance();
  private JsonNode preTokenizer = NullNode.getInstance();
  private JsonNode added = NullNode.getInstance();
  private final ObjectNode settings = JsonNodeFactory.instance.objectNode(); // of the model
  private int size;
  private boolean oneIdEach = true;
  private int mergesAt = -1; // where their array begins

  private TokenizerJson(byte[] bytes) {
    this.bytes = bytes;
  }

  /**
   * Reads {@code file}.
   *
   * @throws UserError if it is not a tokenizer.json
   */
  static TokenizerJson read(Path file) {
    try {
      TokenizerJson json = new TokenizerJson(Files.readAllBytes(file));
      json.scan();
      if (json.ids.isEmpty()) {
        throw new UserError(
            file + ": no model.vocab in it; expected a Hugging Face tokenizer.json");
      }
      return json;
    } catch (JsonProcessingException e) {
      throw new UserError(file + ": not valid JSON: " + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /** The file as it is. */
  byte[] bytes() {
    return bytes;
  }

  /** The names of the added tokens. */
  List<String> addedTokens() {
    List<String> names = new ArrayList<>();
    added.forEach(token -> names.add(token.path("content").asText()));
    return names;
  }

  /** Whether no token of a text reaches over the cuts of {@link WordTokens}. */
  boolean splitsAtSpaces() {
    return SpaceSplits.in(normalizer, preTokenizer, settings, added, ids.keySet());
  }

  /**
   * The expression that cuts a text into words before they are merged; null where none does. Only
   * for a tokenizer that {@linkplain #splitsAtSpaces splits at spaces}.
   */
  String wordPattern() {
    return SpaceSplits.pattern(preTokenizer);
  }

  /** Whether a word that is a token is not merged from its characters. */
  boolean looksWordsUp() {
    return settings.path("ignore_merges").asBoolean();
  }

  /** Whether no added token has the name of another token of the vocabulary. */
  boolean hasOneIdForEachName() {
    return oneIdEach;
  }

  /**
   * The merges in their order, two numbers each: the ids of both sides, the left one in the upper
   * half, and the id of what they make. Null where a token is missing.
   */
  long[] merges() {
    if (mergesAt < 0) {
      return null;
    }
    try (JsonParser parser = JSON.createParser(bytes, mergesAt, bytes.length - mergesAt)) {
      parser.nextToken();
      long[] merges = new long[1 << 16];
      int count = 0;
      while (parser.nextToken() != JsonToken.END_ARRAY) {
        String[] sides = sides(parser);
        Integer left = ids.get(sides[0]);
        Integer right = ids.get(sides[1]);
        Integer made = ids.get(sides[0] + sides[1]);
        if (left == null || right == null || made == null) {
          return null;
        }
        if (count == merges.length) {
          merges = Arrays.copyOf(merges, 2 * count);
        }
        merges[count++] = (long) left << 32 | right;
        merges[count++] = made;
      }
      return Arrays.copyOf(merges, count);
    } catch (IOException e) {
      throw new IllegalStateException("a tokenizer.json that was read before", e);
    }
  }

  /** Both sides of a merge: an array of two, or a text with a space between them. */
  private static String[] sides(JsonParser parser) throws IOException {
    if (parser.currentToken() == JsonToken.START_ARRAY) {
      String left = parser.nextTextValue();
      String right = parser.nextTextValue();
      parser.nextToken();
      return new String[] {String.valueOf(left), String.valueOf(right)};
    }
    String merge = parser.getText();
    int space = merge.indexOf(' ');
    return new String[] {merge.substring(0, Math.max(0, space)), merge.substring(space + 1)};
  }

  /** Token ids by name, added tokens included. */
  Map<String, Integer> ids() {
    return ids;
  }

  /** One more than the largest id. */
  int size() {
    return size;
  }

  /** Whether {@link #withoutStartMark} is another file. */
  boolean marksStart() {
    return !withoutPrepend(normalizer).equals(normalizer)
        || !withoutPrefix(preTokenizer).equals(preTokenizer);
  }

  /**
   * The file with no mark put at the start of a text: no Prepend normalizer, no prefix of a
   * Metaspace or ByteLevel pre-tokenizer. Null if the file marks nothing as it is.
   */
  byte[] withoutStartMark() throws IOException {
    if (!marksStart()) {
      return null;
    }
    JsonNode plainNormalizer = withoutPrepend(normalizer);
    JsonNode plainPreTokenizer = withoutPrefix(preTokenizer);
    ByteArrayOutputStream out = new ByteArrayOutputStream(bytes.length);
    try (JsonParser parser = JSON.createParser(bytes);
        JsonGenerator generator = JSON.createGenerator(out)) {
      parser.nextToken();
      generator.writeStartObject();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        generator.writeFieldName(name);
        parser.nextToken();
        switch (name) {
          case "normalizer" -> replace(parser, generator, plainNormalizer);
          case "pre_tokenizer" -> replace(parser, generator, plainPreTokenizer);
          default -> generator.copyCurrentStructure(parser);
        }
      }
      generator.writeEndObject();
    }
    return out.toByteArray();
  }

  private static void replace(JsonParser parser, JsonGenerator generator, JsonNode by)
      throws IOException {
    parser.skipChildren();
    generator.writeTree(by);
  }

  private void scan() throws IOException {
    try (JsonParser parser = JSON.createParser(bytes)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        return;
      }
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "normalizer" -> normalizer = tree(parser);
          case "pre_tokenizer" -> preTokenizer = tree(parser);
          case "added_tokens" -> added(added = tree(parser));
          case "model" -> model(parser);
          default -> parser.skipChildren();
        }
      }
    }
  }

  private static JsonNode tree(JsonParser parser) throws IOException {
    JsonNode node = parser.readValueAsTree();
    return node == null ? NullNode.getInstance() : node;
  }

  private void added(JsonNode tokens) {
    for (JsonNode token : tokens) {
      put(token.path("content").asText(), token.path("id").asInt(-1));
    }
  }

  private void model(JsonParser parser) throws IOException {
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      boolean vocab = name.equals("vocab");
      JsonToken value = parser.nextToken();
      if (vocab && value == JsonToken.START_OBJECT) {
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
          String piece = parser.currentName();
          parser.nextToken();
          put(piece, parser.getIntValue());
        }
      } else if (vocab && value == JsonToken.START_ARRAY) {
        for (int id = 0; parser.nextToken() == JsonToken.START_ARRAY; id++) {
          parser.nextToken();
          put(parser.getText(), id);
          while (parser.nextToken() != JsonToken.END_ARRAY) {
            parser.skipChildren();
          }
        }
      } else if (value.isStructStart()) {
        if (name.equals("merges") && value == JsonToken.START_ARRAY) {
          mergesAt = (int) parser.currentTokenLocation().getByteOffset();
        }
        parser.skipChildren();
      } else {
        settings.set(name, tree(parser));
      }
    }
  }

  private void put(String piece, int id) {
    if (id >= 0) {
      Integer other = ids.put(piece, id);
      oneIdEach &= other == null || other == id;
      size = Math.max(size, id + 1);
    }
  }

  private static JsonNode withoutPrepend(JsonNode normalizer) {
    if (normalizer.path("type").asText().equals("Prepend")) {
      return NullNode.getInstance();
    }
    return inSequence(normalizer, "normalizers", TokenizerJson::withoutPrepend);
  }

  private static JsonNode withoutPrefix(JsonNode preTokenizer) {
    String type = preTokenizer.path("type").asText();
    if (type.equals("Metaspace") || type.equals("ByteLevel")) {
      ObjectNode copy = preTokenizer.deepCopy();
      if (copy.has("prepend_scheme")) {
        copy.put("prepend_scheme", "never");
      }
      if (copy.has("add_prefix_space")) {
        copy.put("add_prefix_space", false);
      }
      return copy;
    }
    return inSequence(preTokenizer, "pretokenizers", TokenizerJson::withoutPrefix);
  }

  private static JsonNode inSequence(JsonNode node, String key, UnaryOperator<JsonNode> change) {
    if (!node.path("type").asText().equals("Sequence")) {
      return node;
    }
    ObjectNode copy = node.deepCopy();
    ArrayNode kept = copy.putArray(key);
    for (JsonNode step : node.path(key)) {
      JsonNode changed = change.apply(step);
      if (!changed.isNull()) {
        kept.add(changed);
      }
    }
    return copy;
  }
}
