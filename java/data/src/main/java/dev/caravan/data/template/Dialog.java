package dev.caravan.data.template;

import dev.caravan.data.source.Message;
import java.util.List;

/**
 * Turns told apart by words alone, for tokenizers without chat tokens: {@code User: ...\nAssistant:
 * ...} and the end token behind each answer.
 */
final class Dialog extends ChatTemplate {
  Dialog() {
    super("dialog");
  }

  @Override
  void render(List<Message> messages, List<Segment> into) {
    into.add(new Segment.Bos(false));
    for (Message message : messages) {
      String content = message.content().strip();
      switch (message.role()) {
        case SYSTEM -> into.add(Segment.given(content + "\n"));
        case USER -> into.add(Segment.given("User: " + content + "\n"));
        case TOOL -> into.add(Segment.given("Tool: " + content + "\n"));
        case ASSISTANT -> {
          boolean learnt = isLearnt(message);
          into.add(Segment.given("Assistant:"));
          into.add(new Segment.Text(" " + content, learnt));
          into.add(new Segment.Eos(learnt));
        }
        default -> throw new IllegalStateException("role " + message.role());
      }
    }
  }
}
