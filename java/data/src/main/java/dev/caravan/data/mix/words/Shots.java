package dev.caravan.data.mix.words;

import dev.caravan.data.mixture.Choices;
import java.util.List;
import java.util.Optional;

/**
 * Exemplars: other examples of the same task before the one that is learnt.
 *
 * @param least exemplars
 * @param most exemplars
 * @param share of the examples that have some; the others have none
 * @param style of the delimiters
 * @param delimiters of the style OWN, one of which is chosen for an example
 * @param tokens that a prompt with exemplars may have; 0 for 15/16 of a row, as FLAN's 1,920 of
 *     2,048
 */
public record Shots(
    int least, int most, double share, Style style, List<Delimiters> delimiters, int tokens) {
  /** Half of FLAN 2022's examples have exemplars. */
  public static final double FLAN_SHARE = 0.5;

  private static final int FEW = 21;
  private static final int COUNT = 22;
  private static final int WHICH = 23;
  private static final int DELIMITERS = 24;

  public Shots {
    delimiters = List.copyOf(delimiters);
  }

  /** Whose delimiters stand between exemplars. */
  public enum Style {
    /** The template's own words; blank lines separate exemplars. */
    TEMPLATE,
    /** FLAN 2022's. */
    FLAN,
    /** Those that the task names. */
    OWN
  }

  /** How many exemplars an example has before any are left out. */
  public int count(long key) {
    return Choices.share(key, FEW) < share
        ? least + Choices.below(most - least + 1, key, COUNT)
        : 0;
  }

  /** The delimiters of an example; empty for the template's own words. */
  public Optional<Delimiters> delimiters(long key) {
    return switch (style) {
      case TEMPLATE -> Optional.empty();
      case FLAN -> Optional.of(Delimiters.flan(key));
      case OWN -> Optional.of(delimiters.get(Choices.below(delimiters.size(), key, DELIMITERS)));
    };
  }

  /**
   * Row number {@code at} of those that may be exemplars of {@code row}: an order of all the
   * others, which the key chooses.
   *
   * @param rows of the task, at least 2
   * @param at from 0 to rows - 2
   */
  public static long exemplar(long rows, long row, long key, long at) {
    long other = Choices.permuted(rows - 1, Choices.word(key, WHICH), at);
    return other < row ? other : other + 1;
  }

  /** The most tokens of a prompt with exemplars in a row of {@code maxTokens}. */
  public int promptTokens(int maxTokens) {
    return tokens > 0 ? Math.min(tokens, maxTokens) : (int) (maxTokens * 15L / 16);
  }
}
