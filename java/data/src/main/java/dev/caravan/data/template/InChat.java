package dev.caravan.data.template;

import dev.caravan.data.source.Example;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * A template's words as a conversation: its prompt, with any exemplars, is what the user says, its
 * target what the assistant answers, both without the spaces around them.
 */
final class InChat implements Template {
  private final Template words;
  private final ChatTemplate chat;

  InChat(Template words, ChatTemplate chat) {
    this.words = words;
    this.chat = chat;
  }

  @Override
  public String name() {
    return words.name() + " in " + chat.name();
  }

  @Override
  public String words() {
    return words.words() + " in " + chat.words();
  }

  @Override
  public List<String> tokens() {
    return chat.tokens();
  }

  @Override
  public Set<String> fields() {
    return words.fields();
  }

  @Override
  public List<String> literals() {
    return Stream.concat(words.literals().stream(), chat.literals().stream()).toList();
  }

  @Override
  public Optional<String> missing(Example example) {
    return words.missing(example);
  }

  @Override
  public Optional<Exchange> exchange(Example example, String shots) {
    return words.exchange(example, shots);
  }

  @Override
  public Optional<Exchange> exemplar(Example example) {
    return words.exemplar(example);
  }

  @Override
  public List<Segment> segments(Exchange exchange) {
    return chat.render(
        new Example.Fields(Map.of(), exchange.prompt().strip(), exchange.target().strip()));
  }

  @Override
  public List<Segment> render(Example example) {
    return segments(exchange(example, "").orElseThrow());
  }
}
