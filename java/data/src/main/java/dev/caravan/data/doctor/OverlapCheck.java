package dev.caravan.data.doctor;

import dev.caravan.data.source.Example;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/** Evaluation rows that are trained on. */
public final class OverlapCheck {
  private static final int BATCH = 1024;
  private static final String CHECK = "overlap";

  private OverlapCheck() {}

  /**
   * The evaluation rows of {@code sources}, to be looked up.
   *
   * @param sources of evaluation rows
   */
  public static Overlap evaluation(List<Source> sources) {
    Overlap.Builder rows = new Overlap.Builder();
    sources.forEach(source -> source.read(rows::add));
    return rows.build();
  }

  /**
   * Looks every training row up.
   *
   * @param training sources of training rows
   * @param evaluation rows that must not be among them
   * @param dropped whether the run leaves out near copies ("near"), copies ("exact") or neither
   */
  public static List<Finding> of(List<Source> training, Overlap evaluation, String dropped) {
    Tally tally = new Tally(evaluation);
    if (evaluation.size() > 0) {
      training.forEach(source -> source.read(tally::add));
      tally.look();
    }
    List<Finding> findings = new ArrayList<>();
    if (tally.exactRows.cardinality() > 0) {
      String what =
          say(
              "%,d of %,d evaluation rows are also trained on, word for word; the first is %s",
              tally.exactRows.cardinality(), evaluation.size(), tally.firstExact.where());
      findings.add(
          dropped.equals("none")
              ? Finding.serious(
                  CHECK,
                  tally.firstExactAt,
                  what,
                  "set data.drop_copies: exact, or evaluate on other rows")
              : Finding.warning(
                  CHECK, tally.firstExactAt, what, "data.drop_copies leaves them out of training"));
    }
    if (tally.nearRows.cardinality() > 0) {
      String what =
          say(
              "%,d of %,d evaluation rows are nearly trained on; the first is %s, %.0f %% of whose"
                  + " runs of %d words are here",
              tally.nearRows.cardinality(),
              evaluation.size(),
              tally.firstNear.where(),
              100 * tally.firstNear.share(),
              Overlap.RUN);
      findings.add(
          Finding.warning(
              CHECK,
              tally.firstNearAt,
              what,
              dropped.equals("near")
                  ? "data.drop_copies leaves them out of training"
                  : "look at both; data.drop_copies: near leaves them out of training"));
    }
    return findings;
  }

  private static String say(String format, Object... values) {
    return String.format(Locale.ROOT, format, values);
  }

  /** Copies found so far; rows are looked up a batch at a time on all cores. */
  private static final class Tally {
    private final Overlap evaluation;
    private final List<Example> examples = new ArrayList<>(BATCH);
    private final List<String> places = new ArrayList<>(BATCH);
    private final BitSet exactRows = new BitSet();
    private final BitSet nearRows = new BitSet();
    private Overlap.Copy firstExact;
    private Overlap.Copy firstNear;
    private String firstExactAt;
    private String firstNearAt;

    Tally(Overlap evaluation) {
      this.evaluation = evaluation;
    }

    void add(Example example, String where) {
      examples.add(example);
      places.add(where);
      if (examples.size() == BATCH) {
        look();
      }
    }

    void look() {
      List<Optional<Overlap.Copy>> found =
          IntStream.range(0, examples.size())
              .parallel()
              .mapToObj(i -> evaluation.find(examples.get(i)))
              .toList();
      for (int i = 0; i < found.size(); i++) {
        if (found.get(i).isPresent()) {
          take(found.get(i).get(), places.get(i));
        }
      }
      examples.clear();
      places.clear();
    }

    private void take(Overlap.Copy copy, String where) {
      if (copy.exact()) {
        exactRows.set(copy.row());
        firstExact = firstExact == null ? copy : firstExact;
        firstExactAt = firstExactAt == null ? where : firstExactAt;
      } else {
        nearRows.set(copy.row());
        firstNear = firstNear == null ? copy : firstNear;
        firstNearAt = firstNearAt == null ? where : firstNearAt;
      }
    }
  }
}
