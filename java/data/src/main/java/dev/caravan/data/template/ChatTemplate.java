package dev.caravan.data.template;

import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * A template for conversations; other examples become a conversation of one question and one
 * answer.
 */
abstract class ChatTemplate implements Template {
  private final String name;
  private final List<String> tokens;

  ChatTemplate(String name, String... tokens) {
    this.name = name;
    this.tokens = List.of(tokens);
  }

  @Override
  public final String name() {
    return name;
  }

  @Override
  public final List<String> tokens() {
    return tokens;
  }

  /** What stands around the messages of a question and an answer. */
  @Override
  public final List<String> literals() {
    List<Segment> segments = new ArrayList<>();
    render(List.of(new Message(Role.USER, ""), new Message(Role.ASSISTANT, "")), segments);
    return segments.stream()
        .filter(segment -> segment instanceof Segment.Text)
        .map(segment -> ((Segment.Text) segment).text())
        .toList();
  }

  @Override
  public final List<Segment> render(Example example) {
    List<Segment> segments = new ArrayList<>();
    render(messages(example), segments);
    return segments;
  }

  /** Appends the segments of a conversation, which has at least one message. */
  abstract void render(List<Message> messages, List<Segment> into);

  /** A turn without words teaches nothing, not even to end. */
  static boolean isLearnt(Message message) {
    return message.role() == Role.ASSISTANT && !message.content().isBlank();
  }

  /**
   * Checks that after an optional system message user and assistant take turns, as templates
   * without names for the roles need.
   *
   * @return the index of the first user message
   */
  int checkTurns(List<Message> messages) {
    int first = messages.get(0).role() == Role.SYSTEM ? 1 : 0;
    for (int i = first; i < messages.size(); i++) {
      Role expected = (i - first) % 2 == 0 ? Role.USER : Role.ASSISTANT;
      if (messages.get(i).role() != expected) {
        throw new TemplateMismatch(
            "template '"
                + name
                + "' needs user and assistant to take turns; message "
                + (i + 1)
                + " is by "
                + messages.get(i).role().name().toLowerCase(Locale.ROOT));
      }
    }
    return first;
  }

  private List<Message> messages(Example example) {
    if (example instanceof Example.Chat chat) {
      return chat.messages();
    }
    if (example instanceof Example.Fields fields) {
      return List.of(
          new Message(Role.USER, fields.prompt()), new Message(Role.ASSISTANT, fields.target()));
    }
    throw new TemplateMismatch("template '" + name + "' has no words for raw text");
  }
}
