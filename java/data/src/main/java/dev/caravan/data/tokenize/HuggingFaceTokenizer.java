package dev.caravan.data.tokenize;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheKey;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeSet;
import java.util.function.Function;

/**
 * A {@code tokenizer.json}, run by Hugging Face's own tokenizer through DJL's binding. Special
 * tokens that a text spells become those tokens, as they do in Hugging Face's libraries.
 *
 * <p>Which tokens begin and end a sequence is said by the small files beside it
 * (tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json); where none
 * says it, by the names that the field uses.
 */
public final class HuggingFaceTokenizer implements Tokenizer {
  private static final Map<String, String> OPTIONS =
      Map.of("addSpecialTokens", "false", "truncation", "false", "padding", "false");
  private static final List<String> BOS_NAMES = List.of("<s>", "<|begin_of_text|>", "<bos>");
  private static final List<String> EOS_NAMES =
      List.of("</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>");
  private static final List<String> PAD_NAMES = List.of("<pad>", "[PAD]");

  private final TokenizerJson json;
  private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer atStart;
  private final int bosId;
  private final int eosId;
  private final int padId;
  private final boolean addsBos;
  private final int[] stopIds;
  private final Optional<String> chatTemplate;
  private final WordTokens words; // null where a text must be encoded as a whole
  private volatile ai.djl.huggingface.tokenizers.HuggingFaceTokenizer following;

  private HuggingFaceTokenizer(Path file) {
    json = TokenizerJson.read(file);
    NativeLibraries.configure();
    atStart = load(file, json.bytes());
    Path folder = file.toAbsolutePath().getParent();
    SpecialTokens special = SpecialTokens.of(folder);
    JsonNode generation = SpecialTokens.read(folder.resolve("generation_config.json"));
    JsonNode config = SpecialTokens.read(folder.resolve("config.json"));
    bosId = find(special, "bos_token", List.of(generation, config), BOS_NAMES);
    eosId = find(special, "eos_token", List.of(generation, config), EOS_NAMES);
    padId = find(special, "pad_token", List.of(generation, config), PAD_NAMES);
    addsBos = bosId != NONE && special.flag("add_bos_token").orElseGet(this::templateAddsBos);
    chatTemplate = special.chatTemplate();
    TreeSet<Integer> stops = new TreeSet<>();
    if (eosId != NONE) {
      stops.add(eosId);
    }
    ids(generation.path("eos_token_id")).forEach(stops::add);
    stopIds = stops.stream().mapToInt(Integer::intValue).toArray();
    words = json.splitsAtSpaces() ? words() : null;
  }

  private WordTokens words() {
    Function<String, int[]> following = this::continueWhole;
    return new WordTokens(
        json.marksStart() ? this::encodeWhole : following,
        following,
        json.addedTokens(),
        WordBpe.of(json));
  }

  /**
   * Opens a tokenizer.json.
   *
   * @throws UserError if it cannot be read or is not one
   */
  public static HuggingFaceTokenizer open(Path file) {
    return new HuggingFaceTokenizer(file);
  }

  @Override
  public int vocabSize() {
    return json.size();
  }

  @Override
  public int bosId() {
    return bosId;
  }

  @Override
  public int eosId() {
    return eosId;
  }

  @Override
  public int padId() {
    return padId;
  }

  @Override
  public boolean addsBos() {
    return addsBos;
  }

  @Override
  public int[] stopIds() {
    return stopIds.clone();
  }

  @Override
  public Optional<String> chatTemplate() {
    return chatTemplate;
  }

  @Override
  public Optional<String> identity() {
    return Optional.of(
        "tokenizer.json %s %d %d %s %s %s"
            .formatted(
                CacheKey.hex(json.bytes()),
                bosId,
                eosId,
                addsBos,
                NativeLibraries.version(ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.class),
                chatTemplate.orElse("")));
  }

  @Override
  public OptionalInt id(String piece) {
    Integer id = json.ids().get(piece);
    return id == null ? OptionalInt.empty() : OptionalInt.of(id);
  }

  @Override
  public int[] encode(String text) {
    return words == null ? encodeWhole(text) : words.encode(text);
  }

  @Override
  public int[] encodeContinuation(String text) {
    return words == null ? continueWhole(text) : words.encodeContinuation(text);
  }

  /** As {@link #encode}, without regard to words that are known already. */
  int[] encodeWhole(String text) {
    return ids(atStart, text);
  }

  /** As {@link #encodeContinuation}, without regard to words that are known already. */
  int[] continueWhole(String text) {
    return ids(following(), text);
  }

  /**
   * The ids alone: an Encoding of DJL's has each token's text, place and masks as well, which takes
   * most of the time of making it.
   */
  private static int[] ids(
      ai.djl.huggingface.tokenizers.HuggingFaceTokenizer engine, String text) {
    long encoding = TokenizersLibrary.LIB.encode(engine.getHandle(), text, false);
    try {
      return toInts(TokenizersLibrary.LIB.getTokenIds(encoding));
    } finally {
      TokenizersLibrary.LIB.deleteEncoding(encoding);
    }
  }

  @Override
  public String decode(int[] ids) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0 || ids[i] >= vocabSize()) {
        throw new IllegalArgumentException(
            "token id " + ids[i] + " of a vocabulary of " + vocabSize());
      }
      wide[i] = ids[i];
    }
    return atStart.decode(wide, true);
  }

  @Override
  public synchronized void close() {
    if (following != null && following != atStart) {
      following.close();
    }
    atStart.close();
  }

  /**
   * The engine for text that follows other text; a second one only where the file marks the start
   * of a text.
   */
  private ai.djl.huggingface.tokenizers.HuggingFaceTokenizer following() {
    return following == null ? loadFollowing() : following;
  }

  private synchronized ai.djl.huggingface.tokenizers.HuggingFaceTokenizer loadFollowing() {
    if (following == null) {
      try {
        byte[] plain = json.withoutStartMark();
        following = plain == null ? atStart : load(Path.of("tokenizer.json"), plain);
      } catch (IOException e) {
        throw new IllegalStateException("a tokenizer.json that was read before", e);
      }
    }
    return following;
  }

  private boolean templateAddsBos() {
    long[] ids = atStart.encode("", true, false).getIds();
    return ids.length > 0 && ids[0] == bosId;
  }

  private int find(SpecialTokens special, String role, List<JsonNode> configs, List<String> names) {
    Optional<String> named = special.token(role);
    if (named.isPresent()) {
      return json.ids().getOrDefault(named.get(), NONE);
    }
    for (JsonNode config : configs) {
      List<Integer> ids = ids(config.path(role + "_id"));
      if (!ids.isEmpty() && ids.get(0) < vocabSize()) {
        return ids.get(0);
      }
    }
    if (special.exists()) {
      return NONE;
    }
    return names.stream()
        .filter(json.ids()::containsKey)
        .map(json.ids()::get)
        .findFirst()
        .orElse(NONE);
  }

  private static List<Integer> ids(JsonNode node) {
    if (node.isArray()) {
      List<Integer> ids = new ArrayList<>();
      node.forEach(id -> ids.add(id.asInt()));
      return ids;
    }
    return node.isInt() && node.asInt() >= 0 ? List.of(node.asInt()) : List.of();
  }

  private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer load(Path file, byte[] bytes) {
    try {
      return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(
          new ByteArrayInputStream(bytes), OPTIONS);
    } catch (IOException | RuntimeException | LinkageError e) {
      throw NativeLibraries.refusal(file, "tokenizer.json", e);
    }
  }

  private static int[] toInts(long[] wide) {
    int[] ids = new int[wide.length];
    for (int i = 0; i < wide.length; i++) {
      ids[i] = (int) wide[i];
    }
    return ids;
  }
}
