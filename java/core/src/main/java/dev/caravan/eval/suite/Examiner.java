package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.eval.Sampler;
import dev.caravan.eval.metric.Averages;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Asks a model the questions of papers and scores what it answers. */
public final class Examiner implements AutoCloseable {
  /** Hears how it goes on. */
  public interface Listener {
    /** So many questions of a paper are answered. */
    default void asked(Paper paper, int done, int total) {}

    /** A question's answer. */
    default void answered(ObjectNode answer) {}
  }

  private final ModelSource model;
  private final Tokenizer tokenizer;
  private final ExaminerOptions options;
  private final Stream stream;

  /**
   * @param tokenizer of the model; stays open
   * @param choice where the model is asked
   */
  public Examiner(
      ModelSource model, Tokenizer tokenizer, DeviceChoice choice, ExaminerOptions options) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.options = options;
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    stream = Stream.open(choice.device(), choice.threads());
  }

  /**
   * Asks all questions of a paper.
   *
   * @return for each metric the mean, then the value of each group
   * @throws dev.caravan.data.UserError if a question does not fit the model's context
   */
  public List<Result> examine(Paper paper, Listener listener) {
    return paper.scoring() instanceof Scoring.Ranking ranking
        ? rank(paper, ranking, listener)
        : write(paper, (Scoring.Writing) paper.scoring(), listener);
  }

  private List<Result> rank(Paper paper, Scoring.Ranking ranking, Listener listener) {
    Ranker ranker = new Ranker(model, tokenizer, options.storage(), stream);
    Fitting fitting =
        Fitting.of(
            paper,
            tokenizer,
            model.config().maxPosition(),
            options.tooLong(),
            question -> ranker.room((Question.Choice) question));
    List<Ranker.Options> asked = fitting.put().stream().map(ranker::options).toList();
    boolean over = ranking.measures().contains(Scoring.Likelihood.OVER_ANSWER);
    int total = asked.size() * (over ? 2 : 1);
    List<double[]> sums = ranker.score(asked, done -> listener.asked(paper, done, total));
    List<double[]> alone =
        over
            ? ranker.score(
                asked.stream().map(ranker::behindAnswer).toList(),
                done -> listener.asked(paper, asked.size() + done, total))
            : List.of();
    List<Marks> marks = new ArrayList<>();
    for (Scoring.Likelihood measure : ranking.measures()) {
      marks.add(new Marks(paper, "_" + ranking.metric() + measure.suffix(), measure.words()));
    }
    for (int q = 0; q < asked.size(); q++) {
      Fitting.Put put = fitting.put().get(q);
      Question.Choice choice = (Question.Choice) put.question();
      ObjectNode answer = answer(put);
      for (double sum : sums.get(q)) {
        answer.withArray("logprobs").add(sum);
      }
      List<String> texts = choice.options().stream().map(Question.Option::text).toList();
      for (int m = 0; m < marks.size(); m++) {
        Scoring.Likelihood measure = ranking.measures().get(m);
        double[] behindAnswer = over ? alone.get(q) : null;
        int best = measure.best(sums.get(q), behindAnswer, asked.get(q).options(), texts);
        boolean right = best == choice.answer();
        marks.get(m).add(put, right ? 1 : 0, 1.0 / choice.options().size());
        answer.put("answer" + measure.suffix(), choice.options().get(best).text().strip());
      }
      answer.put("expected", choice.options().get(choice.answer()).text().strip());
      listener.answered(answer);
    }
    return results(marks, fitting.counts(0));
  }

  private List<Result> write(Paper paper, Scoring.Writing writing, Listener listener) {
    int context = model.config().maxPosition();
    // An answer may be as long as is usual, but exemplars do not go to make room for more than a
    // quarter.
    int room = Math.min(writing.maxNewTokens(), Math.max(1, context / 4));
    Fitting fitting = Fitting.of(paper, tokenizer, context, options.tooLong(), question -> room);
    int longest = fitting.put().stream().mapToInt(put -> put.ids().length).max().orElse(1);
    int length = Math.min(context, longest + writing.maxNewTokens());
    List<Marks> marks = new ArrayList<>();
    for (Scoring.Metric metric : writing.metrics()) {
      marks.add(new Marks(paper, "_" + metric.name(), metric.words() + sampling()));
    }
    int cut = 0;
    try (Author author = new Author(model, tokenizer, length, options.storage(), stream)) {
      int done = 0;
      for (Fitting.Put put : fitting.put()) {
        List<Author.Written> written = new ArrayList<>();
        for (int sample = 0; sample < options.samples(); sample++) {
          Sampler sampler =
              new Sampler(options.temperature(), options.topP(), seed(put.number(), sample));
          int left = Math.min(writing.maxNewTokens(), length - put.ids().length);
          written.add(author.write(put.ids(), writing.stops(), left, sampler));
        }
        cut += written.stream().anyMatch(Author.Written::cut) ? 1 : 0;
        listener.answered(mark(put, writing, written, marks));
        listener.asked(paper, ++done, fitting.put().size());
      }
    }
    return results(marks, fitting.counts(cut));
  }

  private static ObjectNode mark(
      Fitting.Put put, Scoring.Writing writing, List<Author.Written> written, List<Marks> marks) {
    Question.Open question = (Question.Open) put.question();
    ObjectNode answer = answer(put);
    written.forEach(w -> answer.withArray("written").add(w.text()));
    for (int m = 0; m < marks.size(); m++) {
      Scoring.Metric metric = writing.metrics().get(m);
      Optional<String> found =
          Averages.majority(written.stream().map(w -> metric.extraction().of(w.text())).toList());
      double score =
          found.map(text -> metric.comparison().of(question.references(), text)).orElse(0.0);
      marks.get(m).add(put, score, question.chance());
      answer.put("answer_" + metric.name(), found.orElse(null));
      answer.put(metric.name(), score);
    }
    question.references().forEach(answer.putArray("expected")::add);
    return answer;
  }

  private static ObjectNode answer(Fitting.Put put) {
    ObjectNode answer = JsonNodeFactory.instance.objectNode();
    answer.put("where", put.question().where());
    answer.put("group", put.question().group());
    answer.put("prompt", put.text());
    return answer;
  }

  private static List<Result> results(List<Marks> marks, Result.Counts counts) {
    List<Result> results = new ArrayList<>();
    marks.forEach(m -> results.addAll(m.results(counts)));
    return results;
  }

  private String sampling() {
    if (options.samples() == 1 && options.temperature() == 0) {
      return ", greedy";
    }
    String drawn =
        String.format(
            Locale.ROOT,
            "temperature %s, top-p %s, seed %d",
            options.temperature(),
            options.topP(),
            options.seed());
    return options.samples() == 1
        ? ", one sample at " + drawn
        : ", majority of " + options.samples() + " samples at " + drawn;
  }

  /**
   * Of a question's sample: a function of the seed and the two numbers, whatever was asked before.
   */
  private long seed(int question, int sample) {
    long mixed = options.seed() * 0x9E3779B97F4A7C15L + question;
    mixed = (mixed ^ (mixed >>> 30)) * 0xBF58476D1CE4E5B9L + sample;
    return mixed ^ (mixed >>> 31);
  }

  @Override
  public void close() {
    stream.close();
  }
}
