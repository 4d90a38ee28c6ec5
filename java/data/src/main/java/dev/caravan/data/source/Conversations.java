package dev.caravan.data.source;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;

/**
 * Conversations as the field writes them: {@code messages} of {role, content}, or ShareGPT's {@code
 * conversations} of {from, value}. Content may be text or a list of text parts.
 */
final class Conversations {
  private Conversations() {}

  static Example read(Records in, ObjectNode record, FieldMap map) {
    JsonNode turns = map.get(record, "messages", "conversations");
    if (turns == null || !turns.isArray() || turns.isEmpty()) {
      throw in.error(
          turns == null
              ? "no field 'messages'; expected [{\"role\": ..., \"content\": ...}], got "
                  + FieldMap.fieldsOf(record)
              : "the messages are not a list with at least one message");
    }
    List<Message> messages = new ArrayList<>(turns.size());
    for (JsonNode turn : turns) {
      messages.add(message(in, turn, messages.size()));
    }
    return new Example.Chat(messages);
  }

  private static Message message(Records in, JsonNode turn, int at) {
    boolean shareGpt = turn.has("from");
    String role = Records.scalar(turn.get(shareGpt ? "from" : "role"));
    String content = content(turn.get(shareGpt ? "value" : "content"));
    if (role == null || content == null) {
      throw in.error(
          "message "
              + (at + 1)
              + ": expected {\"role\": ..., \"content\": text}"
              + " or {\"from\": ..., \"value\": text}");
    }
    return new Message(role(in, role, at), content);
  }

  private static Role role(Records in, String name, int at) {
    return switch (name) {
      case "system" -> Role.SYSTEM;
      case "user", "human" -> Role.USER;
      case "assistant", "gpt", "function_call" -> Role.ASSISTANT;
      case "tool", "observation", "function_response", "ipython" -> Role.TOOL;
      default ->
          throw in.error(
              "message "
                  + (at + 1)
                  + ": unknown role '"
                  + name
                  + "'; known: system, user, assistant, tool, and human, gpt, function_call,"
                  + " observation");
    };
  }

  private static String content(JsonNode content) {
    if (content == null || !content.isArray()) {
      return Records.scalar(content);
    }
    StringBuilder text = new StringBuilder();
    for (JsonNode part : content) {
      JsonNode words = part.get("text");
      if (words == null || !words.isTextual()) {
        return null;
      }
      text.append(words.asText());
    }
    return text.toString();
  }
}
