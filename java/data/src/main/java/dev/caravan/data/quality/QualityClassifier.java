package dev.caravan.data.quality;

import dev.caravan.data.UserError;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * Tells curated from raw text: logistic regression over {@link HashedWords}, trained by stochastic
 * gradient descent with AdaGrad's step sizes (Duchi et al. 2011). Both kinds count alike, however
 * many texts there are of each. The same texts and settings give the same classifier, bit for bit.
 */
public final class QualityClassifier {
  /**
   * How it is trained.
   *
   * @param bits there are 2^bits buckets; 1 to 24
   * @param epochs passes over all texts; at least 1
   * @param rate of learning; above 0
   * @param decay pull of weights towards zero, per step on the buckets that occur; at least 0
   * @param seed of the order of texts
   */
  public record Settings(int bits, int epochs, double rate, double decay, long seed) {
    public Settings {
      if (bits < 1 || bits > 24) {
        throw new UserError("filter.bits: got " + bits + ", needs 1 to 24");
      }
      if (epochs < 1) {
        throw new UserError("filter.epochs: got " + epochs + ", needs at least 1");
      }
      if (!(rate > 0) || Double.isInfinite(rate)) {
        throw new UserError("filter.rate: got " + rate + ", needs a number above 0");
      }
      if (!(decay >= 0) || Double.isInfinite(decay)) {
        throw new UserError("filter.decay: got " + decay + ", needs a number of at least 0");
      }
    }

    /** 2^18 buckets, 3 epochs. */
    public static Settings usual(long seed) {
      return new Settings(18, 3, 0.5, 1e-6, seed);
    }
  }

  private record Labelled(HashedWords.Features features, double target, double weight) {}

  private final HashedWords words;
  private final float[] weights;
  private double bias;

  private QualityClassifier(int bits) {
    words = new HashedWords(bits);
    weights = new float[1 << bits];
  }

  /**
   * Trains a classifier.
   *
   * @param curated texts of the kind that is wanted
   * @param raw texts of which some are to be kept
   * @throws UserError if there is none of either
   */
  public static QualityClassifier train(List<String> curated, List<String> raw, Settings settings) {
    if (curated.isEmpty() || raw.isEmpty()) {
      throw new UserError(
          "filter: got "
              + curated.size()
              + " curated and "
              + raw.size()
              + " raw texts, needs at least one of each");
    }
    QualityClassifier made = new QualityClassifier(settings.bits);
    List<Labelled> texts = new ArrayList<>();
    double all = curated.size() + raw.size();
    curated.forEach(t -> texts.add(made.labelled(t, 1, all / (2 * curated.size()))));
    raw.forEach(t -> texts.add(made.labelled(t, 0, all / (2 * raw.size()))));
    made.fit(texts, settings);
    return made;
  }

  private Labelled labelled(String text, double target, double weight) {
    return new Labelled(words.of(text), target, weight);
  }

  private void fit(List<Labelled> texts, Settings settings) {
    double[] squares = new double[weights.length];
    double biasSquares = 0;
    Random random = new Random(settings.seed);
    for (int epoch = 0; epoch < settings.epochs; epoch++) {
      Collections.shuffle(texts, random);
      for (Labelled text : texts) {
        double error = text.weight * (probability(text.features) - text.target);
        for (int i = 0; i < text.features.buckets().length; i++) {
          int bucket = text.features.buckets()[i];
          double gradient = error * text.features.values()[i] + settings.decay * weights[bucket];
          squares[bucket] += gradient * gradient;
          weights[bucket] -=
              (float) (settings.rate * gradient / (Math.sqrt(squares[bucket]) + 1e-8));
        }
        biasSquares += error * error;
        bias -= settings.rate * error / (Math.sqrt(biasSquares) + 1e-8);
      }
    }
  }

  /** How sure it is that a text is of the curated kind, 0 to 1. */
  public double score(String text) {
    return probability(words.of(text));
  }

  private double probability(HashedWords.Features features) {
    double sum = bias;
    for (int i = 0; i < features.buckets().length; i++) {
      sum += weights[features.buckets()[i]] * features.values()[i];
    }
    return 1 / (1 + Math.exp(-sum));
  }
}
