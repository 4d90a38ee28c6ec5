package dev.caravan.data.quality;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;

/** Scores of raw texts, each by a classifier that has not been told that the text is raw. */
public final class QualityScores {
  private static final int PARTS = 2;

  private QualityScores() {}

  /**
   * Scores every raw text. Raw text has good text in it; a classifier that was trained on a text as
   * raw would know it again. So the texts are parted by turns, and each part is scored by the
   * classifier of the others (cross-fitting).
   *
   * @param curated texts of the kind that is wanted
   * @param raw at least two texts
   * @return 0 to 1 for each raw text
   * @throws UserError if there is no curated or fewer than two raw texts
   */
  public static double[] of(
      List<String> curated, List<String> raw, QualityClassifier.Settings settings) {
    if (raw.size() < PARTS) {
      throw new UserError("filter.raw: got " + raw.size() + " texts, needs at least " + PARTS);
    }
    double[] scores = new double[raw.size()];
    for (int part = 0; part < PARTS; part++) {
      List<String> others = new ArrayList<>();
      for (int i = 0; i < raw.size(); i++) {
        if (i % PARTS != part) {
          others.add(raw.get(i));
        }
      }
      QualityClassifier classifier = QualityClassifier.train(curated, others, settings);
      for (int i = part; i < raw.size(); i += PARTS) {
        scores[i] = classifier.score(raw.get(i));
      }
    }
    return scores;
  }
}
