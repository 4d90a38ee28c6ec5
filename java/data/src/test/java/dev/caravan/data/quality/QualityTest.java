package dev.caravan.data.quality;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class QualityTest {
  private static final String[] COMMON = {"the", "of", "and", "a", "to", "in", "is"};
  private static final String[] CURATED = {"river", "history", "century", "theorem", "cell"};
  private static final String[] RAW = {"click", "buy", "subscribe", "cookie", "login"};

  private static List<String> texts(String[] words, int count, long seed) {
    Random random = new Random(seed);
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      StringBuilder text = new StringBuilder();
      for (int w = 0; w < 30; w++) {
        String[] from = random.nextInt(4) == 0 ? words : COMMON;
        text.append(from[random.nextInt(from.length)]).append(w % 7 == 6 ? ". " : " ");
      }
      texts.add(text.toString());
    }
    return texts;
  }

  @Test
  void itTellsTextsApartThatItHasNotSeen() {
    QualityClassifier classifier =
        QualityClassifier.train(
            texts(CURATED, 200, 1), texts(RAW, 900, 2), QualityClassifier.Settings.usual(3));
    for (String text : texts(CURATED, 100, 4)) {
      assertTrue(classifier.score(text) > 0.5, text);
    }
    for (String text : texts(RAW, 100, 5)) {
      assertTrue(classifier.score(text) < 0.5, text);
    }
  }

  @Test
  void theSameTextsGiveTheSameScores() {
    List<String> curated = texts(CURATED, 50, 1);
    List<String> raw = texts(RAW, 50, 2);
    double[][] scores = new double[2][];
    for (int run = 0; run < 2; run++) {
      QualityClassifier made =
          QualityClassifier.train(curated, raw, QualityClassifier.Settings.usual(3));
      scores[run] = raw.stream().mapToDouble(made::score).toArray();
    }
    assertArrayEquals(scores[0], scores[1]);
  }

  /** Of texts that cannot be told apart, the kinds' numbers do not decide. */
  @Test
  void bothKindsCountAlike() {
    QualityClassifier classifier =
        QualityClassifier.train(
            texts(COMMON, 100, 1), texts(COMMON, 2000, 2), QualityClassifier.Settings.usual(3));
    double mean =
        texts(COMMON, 200, 9).stream().mapToDouble(classifier::score).average().orElseThrow();
    assertEquals(0.5, mean, 0.15);
  }

  @Test
  void wordsCountWhateverTheirCaseAndSigns() {
    HashedWords words = new HashedWords(18);
    HashedWords.Features one = words.of("The river, THE River!");
    assertArrayEquals(one.buckets(), words.of("the river the river").buckets());
    double squares = 0;
    for (float value : one.values()) {
      squares += value * value;
    }
    assertEquals(1, squares, 1e-6);
    assertEquals(0, words.of(" .,; ").buckets().length);
  }

  /** The share that is kept is (2 - s)^-alpha, within four standard deviations. */
  @Test
  void thePrettierTheTextTheLikelierItStays() {
    int draws = 200_000;
    for (double alpha : new double[] {1, 9}) {
      ParetoDraw pareto = new ParetoDraw(alpha, 17);
      for (double score : new double[] {0, 0.25, 0.5, 0.9, 0.99, 1}) {
        long kept = 0;
        for (long i = 0; i < draws; i++) {
          kept += pareto.keeps(score, i) ? 1 : 0;
        }
        double expected = Math.pow(2 - score, -alpha);
        double deviation = Math.sqrt(draws * expected * (1 - expected));
        assertEquals(draws * expected, kept, 4 * deviation + 1e-9, "score " + score);
        assertEquals(expected, pareto.probability(score), 1e-12);
      }
    }
  }

  @Test
  void aDrawDependsOnSeedAndNumberAlone() {
    ParetoDraw pareto = new ParetoDraw(ParetoDraw.GPT3, 1);
    List<Boolean> forward = new ArrayList<>();
    for (long i = 0; i < 1000; i++) {
      forward.add(pareto.keeps(0.9, i));
    }
    int other = 0;
    for (long i = 999; i >= 0; i--) {
      assertEquals(forward.get((int) i), new ParetoDraw(ParetoDraw.GPT3, 1).keeps(0.9, i));
      other += forward.get((int) i) != new ParetoDraw(ParetoDraw.GPT3, 2).keeps(0.9, i) ? 1 : 0;
    }
    assertTrue(other > 300);
  }

  /** Good texts among the raw ones stay good, though they count as raw for the classifier. */
  @Test
  void goodTextsAmongRawOnesAreFound() {
    List<String> raw = new ArrayList<>(texts(CURATED, 100, 6));
    raw.addAll(texts(RAW, 400, 7));
    double[] scores =
        QualityScores.of(texts(CURATED, 200, 1), raw, QualityClassifier.Settings.usual(3));
    double good = 0;
    double poor = 0;
    for (int i = 0; i < scores.length; i++) {
      good += i < 100 ? scores[i] / 100 : 0;
      poor += i < 100 ? 0 : scores[i] / 400;
    }
    assertTrue(good > 0.7, "good " + good);
    assertTrue(poor < 0.2, "poor " + poor);
  }

  @Test
  void badSettingsAreNamed() {
    assertThrows(UserError.class, () -> new ParetoDraw(0, 1));
    assertThrows(UserError.class, () -> new ParetoDraw(Double.NaN, 1));
    UserError e =
        assertThrows(
            UserError.class,
            () ->
                QualityClassifier.train(
                    List.of(), List.of("a"), QualityClassifier.Settings.usual(1)));
    assertTrue(e.getMessage().contains("got 0 curated and 1 raw texts"), e.getMessage());
    assertThrows(UserError.class, () -> new QualityClassifier.Settings(25, 1, 1, 0, 1));
  }
}
