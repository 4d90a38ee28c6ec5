package dev.caravan.data.mix;

import dev.caravan.data.RowStore;
import java.util.ArrayList;
import java.util.List;

/**
 * Rows of a task that is held out.
 *
 * @param rows the first of the task that fit whole
 * @param tooLong how many before the last of them do not
 * @param choices the options of each row; empty where no metric of the task ranks them
 * @param alternatives answers of each row that are as right as its own, in the same words; empty
 *     where no metric of the task compares with them
 */
public record HeldOutRows(
    RowStore rows, int tooLong, List<AnswerChoice> choices, List<List<String>> alternatives) {
  public HeldOutRows {
    alternatives = List.copyOf(alternatives);
    choices = List.copyOf(choices);
  }

  /**
   * Takes rows in order until there are enough.
   *
   * @param maxTokens of a row with any of its options
   * @param most rows
   */
  static HeldOutRows of(TaskSpec task, TaskRows rows, int maxTokens, int most) {
    boolean ranked = task.about().metrics().stream().anyMatch(TaskMetric::ranks);
    RowStore.Builder kept = new RowStore.Builder();
    kept.file("task " + task.name());
    boolean compared = task.about().metrics().contains(TaskMetric.ROUGE_L);
    List<AnswerChoice> choices = new ArrayList<>();
    List<List<String>> alternatives = new ArrayList<>();
    int tooLong = 0;
    for (long row = 0; row < rows.size() && kept.size() < most; row++) {
      Block.Encoded encoded = rows.encode(row, -row);
      if (encoded.fate() == Block.Fate.EMPTY_TARGET) {
        continue;
      }
      if (encoded.fate() != Block.Fate.KEPT) {
        tooLong++;
        continue;
      }
      if (ranked) {
        AnswerChoice choice = rows.choice(row, -row);
        if (encoded.length() - encoded.targetTokens() + choice.longest() > maxTokens) {
          tooLong++;
          continue;
        }
        choices.add(choice);
      }
      if (compared) {
        alternatives.add(rows.alternatives(row, -row));
      }
      kept.add(encoded.ids(), encoded.labels(), encoded.length(), row + 1);
    }
    return new HeldOutRows(kept.build(), tooLong, choices, alternatives);
  }
}
