package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import dev.caravan.model.ModelShape;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Set;

/**
 * What data has to know of an encoder-decoder. None is trained yet; preview shows what it would be
 * given.
 *
 * @param vocab token ids are below it
 * @param padId at places without a token
 * @param startId the decoder's first token
 */
record PairModel(int vocab, int padId, int startId) {
  private static final Set<String> TYPES = Set.of("t5", "mt5", "umt5");

  /**
   * The encoder-decoder that a run names, by its size or by a folder whose config.json is one;
   * empty for other models.
   *
   * @throws UserError if the config lacks what data has to know
   */
  static Optional<PairModel> of(RunConfig.Model model) {
    if (model instanceof RunConfig.ModelSize named) {
      // Of T5, id 0 pads and starts (google-research/t5x, t5_1_1 gin files).
      return ModelShape.of(named.family(), named.size())
          .filter(ModelShape::isEncoderDecoder)
          .map(shape -> new PairModel(shape.vocab(), 0, 0));
    }
    if (!(model instanceof RunConfig.ModelFolder folder)) {
      return Optional.empty();
    }
    Path file = folder.path().resolve("config.json");
    if (!Files.isRegularFile(file)) {
      return Optional.empty();
    }
    try {
      JsonNode config = new ObjectMapper().readTree(file.toFile());
      return TYPES.contains(config.path("model_type").asText())
          ? Optional.of(read(config, file))
          : Optional.empty();
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage().lines().findFirst().get(), e);
    }
  }

  private static PairModel read(JsonNode config, Path file) {
    int vocab = number(config, file, "vocab_size");
    int pad = number(config, file, "pad_token_id");
    int start =
        config.has("decoder_start_token_id") ? number(config, file, "decoder_start_token_id") : pad;
    if (vocab < 1 || pad >= vocab || start >= vocab) {
      throw new UserError(file + ": pad_token_id and decoder_start_token_id must be below vocab_size");
    }
    return new PairModel(vocab, pad, start);
  }

  private static int number(JsonNode config, Path file, String key) {
    JsonNode value = config.path(key);
    if (!value.isInt() || value.intValue() < 0) {
      throw new UserError(
          "%s: %s: got %s, needs a whole number"
              .formatted(file, key, value.isMissingNode() ? "nothing" : value));
    }
    return value.intValue();
  }
}
