package dev.caravan.data.tokenize;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * What the small files beside a tokenizer say about its special tokens: {@code
 * tokenizer_config.json} first, then {@code special_tokens_map.json}. Each may be missing.
 */
final class SpecialTokens {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final List<JsonNode> sources;
  private final Path jinja;

  private SpecialTokens(List<JsonNode> sources, Path jinja) {
    this.sources = sources;
    this.jinja = jinja;
  }

  /** Reads the files of {@code folder}. */
  static SpecialTokens of(Path folder) {
    return new SpecialTokens(
        List.of(
            read(folder.resolve("tokenizer_config.json")),
            read(folder.resolve("special_tokens_map.json"))),
        folder.resolve("chat_template.jinja"));
  }

  /** Whether any of the files is there. */
  boolean exists() {
    return sources.stream().anyMatch(source -> !source.isMissingNode());
  }

  /**
   * The name of the token that has {@code role}: {@code bos_token}, {@code eos_token}, {@code
   * pad_token}.
   */
  Optional<String> token(String role) {
    for (JsonNode source : sources) {
      JsonNode value = source.path(role);
      if (value.isObject()) {
        value = value.path("content");
      }
      if (value.isTextual()) {
        return Optional.of(value.asText());
      }
    }
    return Optional.empty();
  }

  /** A switch of tokenizer_config.json: {@code add_bos_token}. */
  Optional<Boolean> flag(String name) {
    JsonNode value = sources.get(0).path(name);
    return value.isBoolean() ? Optional.of(value.asBoolean()) : Optional.empty();
  }

  /**
   * The chat template: chat_template.jinja, else the one in tokenizer_config.json; of several there
   * the one named default.
   */
  Optional<String> chatTemplate() {
    if (Files.isRegularFile(jinja)) {
      try {
        return Optional.of(Files.readString(jinja));
      } catch (IOException e) {
        throw new UserError(jinja + ": cannot be read: " + e.getMessage(), e);
      }
    }
    JsonNode value = sources.get(0).path("chat_template");
    for (JsonNode named : value) {
      if (named.path("name").asText().equals("default")) {
        value = named.path("template");
      }
    }
    return value.isTextual() ? Optional.of(value.asText()) : Optional.empty();
  }

  /** Reads a JSON file that may be missing; a missing one is an empty node. */
  static JsonNode read(Path file) {
    if (!Files.isRegularFile(file)) {
      return JSON.missingNode();
    }
    try {
      return JSON.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new UserError(file + ": not valid JSON: " + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }
}
