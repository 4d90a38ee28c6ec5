package dev.caravan.data.template;

import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.util.List;
import java.util.Locale;

/**
 * ChatML, {@code <|im_start|>role\ncontent<|im_end|>\n} for each message, and what the Qwen models
 * make of it: a system message where the conversation has none, results of calls as messages of the
 * user, and with Qwen 3 an empty train of thought before the last answer. Source: the chat
 * templates that the models' tokenizer_config.json bring along.
 */
final class ChatMl extends ChatTemplate {
  private static final String START = "<|im_start|>";
  private static final String END = "<|im_end|>";
  private static final String NO_THOUGHT = "<think>\n\n</think>\n\n";

  private final String defaultSystem;
  private final boolean toolsAreUser;
  private final boolean emptyThought;

  private ChatMl(String name, String defaultSystem, boolean toolsAreUser, boolean emptyThought) {
    super(name, START, END);
    this.defaultSystem = defaultSystem;
    this.toolsAreUser = toolsAreUser;
    this.emptyThought = emptyThought;
  }

  /** Plain ChatML. */
  static ChatMl plain() {
    return new ChatMl("chatml", null, false, false);
  }

  /** Qwen 2. */
  static ChatMl qwen2() {
    return new ChatMl("qwen2", "You are a helpful assistant.", true, false);
  }

  /** Qwen 2.5. */
  static ChatMl qwen25() {
    return new ChatMl(
        "qwen2.5",
        "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
        true,
        false);
  }

  /** Qwen 3, answering without a train of thought. */
  static ChatMl qwen3() {
    return new ChatMl("qwen3", null, true, true);
  }

  @Override
  void render(List<Message> messages, List<Segment> into) {
    into.add(new Segment.Bos(false));
    if (defaultSystem != null && messages.get(0).role() != Role.SYSTEM) {
      append(new Message(Role.SYSTEM, defaultSystem), "", into);
    }
    for (int i = 0; i < messages.size(); i++) {
      boolean last = i == messages.size() - 1 && messages.get(i).role() == Role.ASSISTANT;
      boolean thinks = messages.get(i).content().contains("</think>");
      append(messages.get(i), emptyThought && last && !thinks ? NO_THOUGHT : "", into);
    }
  }

  private void append(Message message, String before, List<Segment> into) {
    boolean learnt = isLearnt(message);
    boolean asUser = toolsAreUser && message.role() == Role.TOOL;
    String content =
        asUser ? "<tool_response>\n" + message.content() + "\n</tool_response>" : message.content();
    String role = asUser ? "user" : message.role().name().toLowerCase(Locale.ROOT);
    into.add(new Segment.Token(START, false));
    into.add(Segment.given(role + "\n" + before));
    into.add(new Segment.Text(content, learnt));
    into.add(new Segment.Token(END, learnt));
    into.add(Segment.given("\n"));
  }
}
