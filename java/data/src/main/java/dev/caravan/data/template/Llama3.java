package dev.caravan.data.template;

import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.util.List;
import java.util.Locale;

/**
 * Llama 3: {@code <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>} for each message,
 * content without spaces around. Source: the model card's prompt format and the chat template of
 * Meta-Llama-3-8B-Instruct.
 */
final class Llama3 extends ChatTemplate {
  private static final String START = "<|start_header_id|>";
  private static final String END = "<|end_header_id|>";
  private static final String TURN_END = "<|eot_id|>";

  Llama3() {
    super("llama3", START, END, TURN_END);
  }

  @Override
  void render(List<Message> messages, List<Segment> into) {
    into.add(new Segment.Bos(true));
    for (Message message : messages) {
      boolean learnt = isLearnt(message);
      Role role = message.role();
      into.add(new Segment.Token(START, false));
      into.add(Segment.given(role == Role.TOOL ? "ipython" : role.name().toLowerCase(Locale.ROOT)));
      into.add(new Segment.Token(END, false));
      into.add(Segment.given("\n\n"));
      into.add(new Segment.Text(message.content().strip(), learnt));
      into.add(new Segment.Token(TURN_END, learnt));
    }
  }
}
