package dev.caravan.eval.suite;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.eval.Generator;
import dev.caravan.eval.Scorer;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Stream;
import dev.caravan.train.ModelSource;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * The log-probability of options behind their prompts. Options that differ in their last token
 * only, as letters do, are read off one row of logits, and what prompts share goes through the
 * model once; others are rows of prompt and option, many packed in a buffer.
 */
public final class Ranker {
  private static final int QUESTIONS_AT_ONCE = 256;

  /**
   * A question's options in token ids.
   *
   * @param contexts what stands before each; the same array where it is the same
   * @param options what is scored
   */
  public record Options(int[][] contexts, int[][] options) {
    /** Whether they have one prompt and differ in their last token only, as letters do. */
    boolean differInLastToken() {
      int[] first = options[0];
      int before = first.length - 1;
      return Arrays.stream(contexts).allMatch(ids -> ids == contexts[0])
          && Arrays.stream(options)
              .allMatch(
                  ids ->
                      ids.length == first.length
                          && Arrays.equals(ids, 0, before, first, 0, before));
    }
  }

  private final ModelSource model;
  private final Tokenizer tokenizer;
  private final DType storage;
  private final Stream stream;

  /**
   * @param tokenizer of the model; stays open
   * @param storage dtype of weights and activations
   * @param stream of the device to rank on; stays open
   */
  public Ranker(ModelSource model, Tokenizer tokenizer, DType storage, Stream stream) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.storage = storage;
    this.stream = stream;
  }

  /** Tokens that the options of a question need behind its prompt. */
  int room(Question.Choice choice) {
    int room = 1;
    for (Question.Option option : choice.options()) {
      int lead = option.lead().isEmpty() ? 0 : 1 + encode(option.lead()).length;
      room = Math.max(room, lead + encode(option.text()).length);
    }
    return room;
  }

  private int[] encode(String text) {
    return tokenizer.encodeContinuation(text);
  }

  /** The options of a question that is put. */
  Options options(Fitting.Put put) {
    List<Question.Option> options = ((Question.Choice) put.question()).options();
    int[][] contexts = new int[options.size()][];
    int[][] ids = new int[options.size()][];
    for (int i = 0; i < options.size(); i++) {
      String lead = options.get(i).lead();
      contexts[i] =
          lead.isEmpty() ? put.ids() : tokenizer.encode(put.text() + lead, tokenizer.addsBos());
      // Text at the very start of a sequence is encoded as such.
      ids[i] =
          put.text().isEmpty() && lead.isEmpty()
              ? tokenizer.encode(options.get(i).text())
              : encode(options.get(i).text());
    }
    return new Options(contexts, ids);
  }

  /** The same options behind 'Answer:' alone. */
  Options behindAnswer(Options options) {
    int[] answer = tokenizer.encode("Answer:", tokenizer.addsBos());
    int[][] contexts = new int[options.options.length][];
    Arrays.fill(contexts, answer);
    return new Options(contexts, options.options);
  }

  /**
   * The sum of the log-probabilities of each option's tokens, for every question.
   *
   * @param done told how many questions are scored
   */
  public List<double[]> score(List<Options> questions, IntConsumer done) {
    return questions.stream().allMatch(Options::differInLastToken)
        ? nextTokens(questions, done)
        : packed(questions, done);
  }

  /** One pass over each prompt, whatever the number of options. */
  List<double[]> nextTokens(List<Options> questions, IntConsumer done) {
    int longest = 1;
    for (Options question : questions) {
      longest = Math.max(longest, question.contexts[0].length + question.options[0].length - 1);
    }
    List<double[]> scores = new ArrayList<>();
    try (Cached cached = new Cached(new Generator(model, longest, storage, stream))) {
      for (Options question : questions) {
        scores.add(lastTokens(cached, question));
        done.accept(scores.size());
      }
    }
    return scores;
  }

  private static double[] lastTokens(Cached cached, Options question) {
    FloatBuffer logits = cached.prompt(question.contexts[0]);
    int last = question.options[0].length - 1;
    double shared = 0;
    for (int i = 0; i < last; i++) {
      int token = question.options[0][i];
      shared += logits.get(token) - logSumExp(logits);
      logits = cached.append(token);
    }
    double total = logSumExp(logits);
    double[] sums = new double[question.options.length];
    for (int i = 0; i < sums.length; i++) {
      sums[i] = shared + logits.get(question.options[i][last]) - total;
    }
    return sums;
  }

  private static double logSumExp(FloatBuffer logits) {
    double highest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < logits.capacity(); i++) {
      highest = Math.max(highest, logits.get(i));
    }
    double sum = 0;
    for (int i = 0; i < logits.capacity(); i++) {
      sum += Math.exp(logits.get(i) - highest);
    }
    return highest + Math.log(sum);
  }

  /** A row for each option. */
  List<double[]> packed(List<Options> questions, IntConsumer done) {
    int longest = 1;
    int shortest = Integer.MAX_VALUE;
    for (Options question : questions) {
      for (int i = 0; i < question.options.length; i++) {
        int length = question.contexts[i].length + question.options[i].length;
        longest = Math.max(longest, length);
        shortest = Math.min(shortest, length);
      }
    }
    List<double[]> scores = new ArrayList<>();
    try (Scorer scorer = new Scorer(model, longest, shortest, storage, stream)) {
      for (int first = 0; first < questions.size(); first += QUESTIONS_AT_ONCE) {
        List<Options> some =
            questions.subList(first, Math.min(questions.size(), first + QUESTIONS_AT_ONCE));
        List<Double> sums = new ArrayList<>();
        scorer.run(rows(some), score -> sums.add(0.0 - score.nllSum()));
        int at = 0;
        for (Options question : some) {
          double[] mine = new double[question.options.length];
          for (int i = 0; i < mine.length; i++) {
            mine[i] = sums.get(at++);
          }
          scores.add(mine);
        }
        done.accept(scores.size());
      }
    }
    return scores;
  }

  private static RowStore rows(List<Options> questions) {
    RowStore.Builder rows = new RowStore.Builder();
    rows.file("options");
    int line = 0;
    for (Options question : questions) {
      for (int i = 0; i < question.options.length; i++) {
        int[] context = question.contexts[i];
        int[] option = question.options[i];
        int[] ids = Arrays.copyOf(context, context.length + option.length);
        int[] labels = new int[ids.length];
        Arrays.fill(labels, Row.NO_TARGET);
        System.arraycopy(option, 0, ids, context.length, option.length);
        System.arraycopy(option, 0, labels, context.length, option.length);
        rows.add(ids, labels, ++line);
      }
    }
    return rows.build();
  }
}
