package dev.caravan.data.task;

import java.util.ArrayList;
import java.util.List;

/**
 * What happened to the rows of each file on their way to tokens.
 *
 * @param files one entry a file, in the order of reading
 */
public record TruncationReport(List<FileCounts> files) {
  public TruncationReport {
    files = List.copyOf(files);
  }

  /**
   * Counts of one file.
   *
   * @param file its name as the user gave it
   * @param read rows that the file has
   * @param kept rows that came through, whole or truncated
   * @param truncated kept rows that lost tokens
   * @param tokensCut tokens that the truncated rows lost
   * @param emptyTarget rows left out because they have no target
   * @param cutTarget rows left out because truncation took their whole target
   * @param copies rows left out because they are evaluated on
   */
  public record FileCounts(
      String file,
      long read,
      long kept,
      long truncated,
      long tokensCut,
      long emptyTarget,
      long cutTarget,
      long copies) {
    FileCounts plus(FileCounts other) {
      return new FileCounts(
          file,
          read + other.read,
          kept + other.kept,
          truncated + other.truncated,
          tokensCut + other.tokensCut,
          emptyTarget + other.emptyTarget,
          cutTarget + other.cutTarget,
          copies + other.copies);
    }

    /** Whether every row came through whole. */
    public boolean isClean() {
      return truncated == 0 && kept == read;
    }

    /**
     * One line that names what was lost: {@code a.jsonl: 100 rows, 3 truncated (120 tokens), 2
     * without target left out}.
     */
    public String describe() {
      StringBuilder text = new StringBuilder(file).append(": ").append(read).append(" rows");
      if (truncated > 0) {
        text.append(", ")
            .append(truncated)
            .append(" truncated (")
            .append(tokensCut)
            .append(" tokens)");
      }
      if (emptyTarget > 0) {
        text.append(", ").append(emptyTarget).append(" without target left out");
      }
      if (cutTarget > 0) {
        text.append(", ").append(cutTarget).append(" whose target was cut wholly left out");
      }
      if (copies > 0) {
        text.append(", ").append(copies).append(" that are evaluated on left out");
      }
      return text.toString();
    }
  }

  /** The sum over all files. */
  public FileCounts total() {
    FileCounts sum = new FileCounts("total", 0, 0, 0, 0, 0, 0, 0);
    for (FileCounts file : files) {
      sum = sum.plus(file);
    }
    return sum;
  }

  /** A line for each file that lost something; empty if none did. */
  public List<String> warnings() {
    List<String> lines = new ArrayList<>();
    for (FileCounts file : files) {
      if (!file.isClean()) {
        lines.add(file.describe());
      }
    }
    return lines;
  }
}
