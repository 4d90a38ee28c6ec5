package dev.caravan.data.mix;

import dev.caravan.data.mix.words.Delimiters;
import dev.caravan.data.mix.words.Shots;
import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.source.Example;
import dev.caravan.data.task.EncodedRow;
import dev.caravan.data.task.RowEncoder;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.template.Exchange;
import dev.caravan.data.template.Segment;
import dev.caravan.data.template.Template;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Function;

/**
 * Rows with exemplars: other rows of the same task's training split, in the words of the same
 * template and with the same choices of options and phrases. Which ones is a pure function of the
 * row and its key. Never the row itself, nor one that asks the same. Those that do not fit are left
 * out, the last ones first. Safe for several threads.
 */
final class FewShot {
  /** Rows that are looked at beyond those that are wanted, where some cannot be exemplars. */
  private static final int SPARE = 8;

  private final Shots shots;
  private final Wording wording;
  private final ExampleSet examples;
  private final RowEncoder encoder;
  private final Function<List<Segment>, EncodedRow> form;
  private final int maxTokens;
  private final int promptTokens;
  private final LongAdder found = new LongAdder();
  private final LongAdder kept = new LongAdder();

  /**
   * @param examples of the task
   * @param limits of rows, or of pairs, whose sources alone have to fit
   */
  FewShot(Wording wording, ExampleSet examples, RowEncoder encoder, RowLimits limits) {
    this.wording = wording;
    this.examples = examples;
    this.encoder = encoder;
    form = limits.isPairs() ? encoder::pair : encoder::row;
    maxTokens = limits.isPairs() ? Integer.MAX_VALUE : limits.maxTokens();
    shots = wording.shots().orElseThrow();
    promptTokens = shots.promptTokens(limits.maxTokens());
  }

  /**
   * The row of an example with its exemplars, truncated only if it is too long without any; empty
   * if it has none.
   *
   * @param template one that can have exemplars
   * @param example with its options and phrases
   * @param row its number
   * @param key of all its choices
   */
  Optional<EncodedRow> encode(Template template, Example example, long row, long key) {
    List<Exchange> exemplars = exemplars(template, example, row, key);
    if (exemplars.isEmpty()) {
      return Optional.empty();
    }
    found.add(exemplars.size());
    Optional<Delimiters> delimiters = shots.delimiters(key);
    String separator = delimiters.map(Delimiters::separator).orElse(Delimiters.separator(key));
    List<String> texts = new ArrayList<>();
    for (Exchange exemplar : exemplars) {
      Exchange words = delimiters.map(d -> d.around(exemplar)).orElse(exemplar);
      texts.add((words.prompt() + words.target()).strip() + separator);
    }
    while (!texts.isEmpty()) {
      EncodedRow encoded = form.apply(segments(template, example, texts, delimiters));
      int excess = Math.max(encoded.length() - maxTokens, encoded.promptTokens() - promptTokens);
      if (excess <= 0) {
        kept.add(texts.size());
        return Optional.of(encoded);
      }
      while (excess > 0 && !texts.isEmpty()) {
        excess -= encoder.encode(List.of(Segment.given(texts.remove(texts.size() - 1)))).length;
      }
    }
    return Optional.empty();
  }

  /** Exemplars that the rows so far had. */
  long kept() {
    return kept.sum();
  }

  /** Exemplars that the rows so far did not have room for. */
  long leftOut() {
    return found.sum() - kept.sum();
  }

  private static List<Segment> segments(
      Template template, Example example, List<String> texts, Optional<Delimiters> delimiters) {
    String before = String.join("", texts);
    Exchange words =
        delimiters
            .map(
                around -> {
                  Exchange own = around.around(template.exchange(example, "").orElseThrow());
                  return new Exchange(before + own.prompt(), own.target());
                })
            .orElseGet(() -> template.exchange(example, before).orElseThrow());
    return template.segments(words);
  }

  private List<Exchange> exemplars(Template template, Example example, long row, long key) {
    List<Exchange> chosen = new ArrayList<>();
    long others = examples.size() - 1;
    int wanted = shots.count(key);
    if (wanted == 0 || others < 1) {
      return chosen;
    }
    String asked = exemplar(template, example).prompt();
    long most = Math.min(others, 2L * wanted + SPARE);
    for (long at = 0; at < most && chosen.size() < wanted; at++) {
      long other = Shots.exemplar(examples.size(), row, key, at);
      Exchange words = exemplar(template, wording.apply(examples.example(other), template, key));
      if (!words.target().isBlank() && !words.prompt().equals(asked)) {
        chosen.add(words);
      }
    }
    return chosen;
  }

  private static Exchange exemplar(Template template, Example example) {
    return template.exemplar(example).orElseThrow();
  }
}
