package dev.caravan.data;

import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.TreeSet;
import java.util.function.Function;

/** Finds the known name that a mistyped one most likely means, for error messages. */
public final class Nearest {
  /** So many known names are listed; a mixture may have thousands of tasks. */
  private static final int LISTED = 40;

  private Nearest() {}

  /**
   * The known name with the smallest edit distance to {@code name}, where that is small enough to
   * be a slip: at most a third of the longer name's length, rounded up. Upper and lower case, '-'
   * and '_' count as equal. Of equally near names the first in alphabetical order is taken.
   */
  public static Optional<String> find(String name, Collection<String> known) {
    String wanted = fold(name);
    String best = null;
    int bestDistance = Integer.MAX_VALUE;
    for (String candidate : new TreeSet<>(known)) {
      int distance = distance(wanted, fold(candidate));
      int allowed = (Math.max(wanted.length(), candidate.length()) + 2) / 3;
      if (distance <= allowed && distance < bestDistance) {
        best = candidate;
        bestDistance = distance;
      }
    }
    return Optional.ofNullable(best);
  }

  /**
   * One sentence for an unknown name: {@code unknown key 'lenght', did you mean 'length'?}, or the
   * known names where none is near: {@code unknown format 'xml'; known: alpaca, text}, the first of
   * many. Where none is known it says so.
   *
   * @param kind what the name names: key, format, template
   */
  public static String unknown(String kind, String name, Collection<String> known) {
    String unknown = "unknown " + kind + " '" + name + "'";
    if (known.isEmpty()) {
      return unknown + "; there is none here";
    }
    return unknown
        + find(name, known)
            .map(near -> ", did you mean '" + near + "'?")
            .orElseGet(() -> "; known: " + list(known));
  }

  /**
   * The one of that name.
   *
   * @param where what the sentence begins with
   * @param kind as above
   * @param nameOf the name of each
   * @throws UserError if there is none, by the sentence above
   */
  public static <T> T named(
      String where, String kind, String name, Collection<T> all, Function<T, String> nameOf) {
    return all.stream()
        .filter(one -> nameOf.apply(one).equals(name))
        .findFirst()
        .orElseThrow(
            () -> new UserError(where + unknown(kind, name, all.stream().map(nameOf).toList())));
  }

  private static String list(Collection<String> known) {
    List<String> all = List.copyOf(new TreeSet<>(known));
    return all.size() <= LISTED
        ? String.join(", ", all)
        : String.join(", ", all.subList(0, LISTED)) + " and " + (all.size() - LISTED) + " more";
  }

  private static String fold(String name) {
    return name.toLowerCase(Locale.ROOT).replace('-', '_');
  }

  /**
   * Edit distance with insertion, deletion, substitution and the swap of two neighbours, each at
   * cost 1 (optimal string alignment).
   */
  static int distance(String a, String b) {
    int[][] cost = new int[a.length() + 1][b.length() + 1];
    for (int i = 0; i <= a.length(); i++) {
      cost[i][0] = i;
    }
    for (int j = 0; j <= b.length(); j++) {
      cost[0][j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      for (int j = 1; j <= b.length(); j++) {
        boolean same = a.charAt(i - 1) == b.charAt(j - 1);
        int best = cost[i - 1][j - 1] + (same ? 0 : 1);
        best = Math.min(best, Math.min(cost[i - 1][j], cost[i][j - 1]) + 1);
        boolean swapped =
            i > 1
                && j > 1
                && a.charAt(i - 1) == b.charAt(j - 2)
                && a.charAt(i - 2) == b.charAt(j - 1);
        cost[i][j] = swapped ? Math.min(best, cost[i - 2][j - 2] + 1) : best;
      }
    }
    return cost[a.length()][b.length()];
  }
}
