package dev.caravan.data.task;

import dev.caravan.data.UserError;
import dev.caravan.data.source.Example;
import dev.caravan.data.template.Segment;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.TemplateMismatch;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/**
 * Turns examples into token ids and labels. Neighbouring segments of the same kind are encoded
 * together and others apart, so the border between prompt and response is known exactly, and the
 * prompt's tokens are those that it has alone, as when the model is asked. A tokenizer's own mark
 * of a text's start is put at the start of the sequence and behind BOS and EOS, nowhere else. Safe
 * for several threads.
 */
public final class RowEncoder {
  private final Tokenizer tokenizer;

  /** An encoder for {@code tokenizer}. */
  public RowEncoder(Tokenizer tokenizer) {
    this.tokenizer = tokenizer;
  }

  /**
   * Checks that the tokenizer has what a template needs.
   *
   * @throws UserError naming the token that is missing
   */
  public void check(Template template) {
    for (String piece : template.tokens()) {
      if (tokenizer.id(piece).isEmpty()) {
        throw new UserError(
            "template '"
                + template.name()
                + "' needs the token "
                + piece
                + ", which the tokenizer does not have; choose another template");
      }
    }
  }

  /** Token ids of segments, as a model is given them. */
  public int[] encode(List<Segment> segments) {
    EncodedRow row = new EncodedRow();
    append(segments, row);
    return Arrays.copyOf(row.ids(), row.length());
  }

  /** The whole row of segments, of any length. */
  public EncodedRow row(List<Segment> segments) {
    EncodedRow row = new EncodedRow();
    append(segments, row);
    return row;
  }

  /**
   * The whole pair of segments for an encoder-decoder, of any length, as a row: the source, then
   * the target. The target is the last response; the source is all before it, earlier responses
   * included. Both begin as a text does, without a BOS, and end with the end token.
   */
  public EncodedRow pair(List<Segment> segments) {
    int end = segments.size();
    while (end > 0 && !segments.get(end - 1).target()) {
      end--;
    }
    int begin = end;
    while (begin > 0 && segments.get(begin - 1).target()) {
      begin--;
    }
    EncodedRow row = new EncodedRow();
    append(side(segments.subList(0, begin), false), row);
    append(side(segments.subList(begin, end), true), row);
    return row;
  }

  private static List<Segment> side(List<Segment> segments, boolean target) {
    List<Segment> side = new ArrayList<>();
    for (Segment segment : segments) {
      if (segment instanceof Segment.Text text) {
        side.add(new Segment.Text(text.text(), target));
      } else if (segment instanceof Segment.Token token) {
        side.add(new Segment.Token(token.piece(), target));
      } else if (segment instanceof Segment.Eos) {
        side.add(new Segment.Eos(target));
      }
    }
    if (side.isEmpty() || !(side.get(side.size() - 1) instanceof Segment.Eos)) {
      side.add(new Segment.Eos(target));
    }
    return side;
  }

  /**
   * The whole row of an example, of any length.
   *
   * @throws TemplateMismatch if the template has no words for it
   */
  public EncodedRow encode(Example example, Template template) {
    EncodedRow row = new EncodedRow();
    if (example instanceof Example.Text text) {
      encode(text, row);
    } else {
      append(template.render(example), row);
    }
    return row;
  }

  private void encode(Example.Text text, EncodedRow row) {
    if (text.begins()) {
      append(List.of(new Segment.Bos(false), Segment.learnt(text.text())), row);
    } else {
      row.add(tokenizer.encodeContinuation(text.text()), true);
    }
    if (text.ends() && tokenizer.eosId() != Tokenizer.NONE) {
      row.add(tokenizer.eosId(), true);
    }
  }

  /** Whether a row begins with the tokenizer's BOS. */
  public boolean beginsWithBos(EncodedRow row) {
    return row.length() > 0 && row.ids()[0] == tokenizer.bosId();
  }

  private void append(List<Segment> segments, EncodedRow row) {
    StringBuilder run = new StringBuilder();
    boolean runIsTarget = false;
    boolean atStart = true;
    for (Segment segment : segments) {
      if (segment instanceof Segment.Text text) {
        if (text.text().isEmpty()) {
          continue;
        }
        if (!run.isEmpty() && text.target() != runIsTarget) {
          appendText(run, runIsTarget, atStart, row);
          atStart = false;
        }
        runIsTarget = text.target();
        run.append(text.text());
        continue;
      }
      if (!run.isEmpty()) {
        appendText(run, runIsTarget, atStart, row);
        atStart = false;
      }
      atStart = appendSpecial(segment, atStart, row);
    }
    if (!run.isEmpty()) {
      appendText(run, runIsTarget, atStart, row);
    }
  }

  private void appendText(StringBuilder run, boolean target, boolean atStart, EncodedRow row) {
    String text = run.toString();
    run.setLength(0);
    int[] ids = atStart ? tokenizer.encode(text) : tokenizer.encodeContinuation(text);
    // Text that itself spells the BOS token would double it.
    boolean doubled =
        row.length() == 1 && beginsWithBos(row) && ids.length > 0 && ids[0] == tokenizer.bosId();
    if (doubled) {
      row.cut(0, 1);
    }
    row.add(ids, target);
  }

  /** Returns whether text that follows is at a start. */
  private boolean appendSpecial(Segment segment, boolean atStart, EncodedRow row) {
    if (segment instanceof Segment.Bos bos) {
      boolean wanted = bos.always() || tokenizer.addsBos();
      if (wanted && tokenizer.bosId() != Tokenizer.NONE) {
        row.add(tokenizer.bosId(), false);
      }
      return true;
    }
    if (segment instanceof Segment.Eos) {
      if (tokenizer.eosId() == Tokenizer.NONE) {
        throw new UserError(
            "the tokenizer has no end-of-sequence token, so a response cannot be taught to end;"
                + " name one in tokenizer_config.json (eos_token)");
      }
      row.add(tokenizer.eosId(), segment.target());
      return true;
    }
    String piece = ((Segment.Token) segment).piece();
    OptionalInt id = tokenizer.id(piece);
    row.add(
        id.orElseThrow(() -> new UserError("the tokenizer has no token " + piece)),
        segment.target());
    return false;
  }
}
