package dev.caravan.data.template;

import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.util.List;

/**
 * Questions between {@code [INST]} and {@code [/INST]}, answers behind them, each ended by the end
 * token. Source: Llama 2's generation code and chat template; Mistral 7B's instruct format.
 */
final class Instruct extends ChatTemplate {
  private final boolean llama2;

  private Instruct(String name, boolean llama2) {
    super(name);
    this.llama2 = llama2;
  }

  /**
   * Llama 2: every question begins with BOS, a system message lies between {@code <<SYS>>} marks,
   * spaces around answers.
   */
  static Instruct llama2() {
    return new Instruct("llama2", true);
  }

  /** Mistral: one BOS, a system message comes before the first question, a space before answers. */
  static Instruct mistral() {
    return new Instruct("mistral", false);
  }

  @Override
  void render(List<Message> messages, List<Segment> into) {
    int first = checkTurns(messages);
    String system = first == 0 ? "" : messages.get(0).content();
    if (!llama2) {
      into.add(new Segment.Bos(true));
    }
    for (int i = first; i < messages.size(); i++) {
      Message message = messages.get(i);
      if (message.role() == Role.USER) {
        String given = i == first ? withSystem(system, message.content()) : message.content();
        if (llama2) {
          into.add(new Segment.Bos(true));
        }
        into.add(Segment.given("[INST] " + given.strip() + " [/INST]"));
      } else {
        boolean learnt = isLearnt(message);
        String answer = " " + message.content().strip() + (llama2 ? " " : "");
        into.add(new Segment.Text(answer, learnt));
        into.add(new Segment.Eos(learnt));
      }
    }
  }

  private String withSystem(String system, String question) {
    if (system.isEmpty()) {
      return question;
    }
    return llama2 ? "<<SYS>>\n" + system + "\n<</SYS>>\n\n" + question : system + "\n\n" + question;
  }
}
