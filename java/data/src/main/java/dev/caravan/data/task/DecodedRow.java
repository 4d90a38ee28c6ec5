package dev.caravan.data.task;

import dev.caravan.data.Row;
import dev.caravan.data.tokenize.DecodeStream;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A row as text, in runs of what is given and what is learnt.
 *
 * @param spans in order; together they are the row
 */
public record DecodedRow(List<Span> spans) {
  public DecodedRow {
    spans = List.copyOf(spans);
  }

  /**
   * A run of tokens that are all targets or all not.
   *
   * @param text decoded in the context of what comes before; special tokens have no text
   * @param ids the tokens
   * @param target whether they are learnt
   */
  public record Span(String text, List<Integer> ids, boolean target) {
    public Span {
      ids = List.copyOf(ids);
    }
  }

  /** Decodes a row. The first token is never a target, whatever its label. */
  public static DecodedRow of(Row row, Tokenizer tokenizer) {
    List<Span> spans = new ArrayList<>();
    for (int from = 0; from < row.length(); ) {
      boolean target = isTarget(row, from);
      int to = from + 1;
      while (to < row.length() && isTarget(row, to) == target) {
        to++;
      }
      DecodeStream stream = tokenizer.decodeStream(Arrays.copyOf(row.inputIds(), from));
      StringBuilder text = new StringBuilder();
      List<Integer> ids = new ArrayList<>();
      for (int i = from; i < to; i++) {
        text.append(stream.add(row.inputIds()[i]));
        ids.add(row.inputIds()[i]);
      }
      spans.add(new Span(text.append(stream.flush()).toString(), ids, target));
      from = to;
    }
    return new DecodedRow(spans);
  }

  private static boolean isTarget(Row row, int at) {
    return at > 0 && row.labels()[at] != Row.NO_TARGET;
  }
}
