package dev.caravan.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import dev.caravan.eval.suite.Examiner;
import dev.caravan.eval.suite.ExaminerOptions;
import dev.caravan.eval.suite.NormalizedAverage;
import dev.caravan.eval.suite.Paper;
import dev.caravan.eval.suite.Result;
import dev.caravan.eval.suite.Scoring;
import dev.caravan.eval.suite.Suite;
import dev.caravan.eval.suite.SuiteOptions;
import dev.caravan.eval.suite.Suites;
import dev.caravan.kernels.DType;
import dev.caravan.train.Cwd;
import dev.caravan.train.ModelSource;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan eval}: asks a model the questions of a public benchmark. */
@Command(name = "eval")
final class EvalCommand implements Callable<Integer> {
  private static final long SECONDS_BETWEEN_LINES = 10;

  @Option(names = "--model", paramLabel = "DIR")
  String model;

  @Option(names = "--suite", paramLabel = "NAME")
  String suite;

  @Option(names = "--data", paramLabel = "PATH")
  String data;

  @Option(names = "--average", arity = "1..*", paramLabel = "FILE.json")
  List<String> average = List.of();

  @Option(names = "--tasks", split = ",", paramLabel = "NAME")
  List<String> tasks = List.of();

  @Option(names = "--categories", split = ",", paramLabel = "NAME")
  List<String> categories = List.of();

  @Option(names = "--tokenizer", paramLabel = "FILE|DIR")
  String tokenizer;

  @Option(names = "--out", paramLabel = "FILE.json")
  String out;

  @Option(names = "--answers", paramLabel = "FILE.jsonl")
  String answers;

  @Option(names = "--json")
  boolean json;

  @Option(names = "--split", paramLabel = "NAME")
  String split;

  @Option(names = "--shots", paramLabel = "N")
  Integer shots;

  @Option(names = "--limit", paramLabel = "N")
  Integer limit;

  @Option(names = "--reasoning", paramLabel = "direct|cot")
  String reasoning;

  @Option(names = "--max-new-tokens", paramLabel = "N")
  Integer maxNewTokens;

  @Option(names = "--samples", paramLabel = "N")
  int samples = 1;

  @Option(names = "--temperature", paramLabel = "T")
  Double temperature;

  @Option(names = "--top-p", paramLabel = "P")
  double topP = 1;

  @Option(names = "--seed", paramLabel = "S")
  long seed;

  @Option(names = "--too-long", paramLabel = "fail|fewer-shots|skip")
  String tooLong = "fewer-shots";

  @Option(names = "--precision", paramLabel = "fp32|bf16")
  String precision = "fp32";

  @Mixin DeviceOptions device;

  @Override
  public Integer call() {
    if (!average.isEmpty()) {
      return average();
    }
    required("--model=DIR", model);
    required("--suite=NAME", suite);
    required("--data=PATH", data);
    Suite chosen = Suites.named(suite);
    ExaminerOptions how = examinerOptions();
    if (!chosen.name().equals("superni") && !(tasks.isEmpty() && categories.isEmpty())) {
      throw new UserError("--tasks, --categories: only the suite superni has some");
    }
    if (reasoning != null && !chosen.hasReasoning()) {
      throw new UserError("--reasoning: the suite " + suite + " is asked in one way alone");
    }
    writable("--out", out);
    writable("--answers", answers);
    List<Paper> papers = chosen.read(Cwd.resolve(data), suiteOptions());
    check(papers);
    papers.forEach(p -> p.notes().forEach(n -> System.err.println(p.name() + ": " + n)));
    Path folder = ModelFolders.resolve(model);
    ModelSource source = ModelSource.folder(folder);
    List<Result> results = new ArrayList<>();
    List<String> answered = new ArrayList<>();
    try (Tokenizer words = Tokenizers.open(tokenizer == null ? folder : Cwd.resolve(tokenizer));
        Examiner examiner = new Examiner(source, words, device.choose(), how)) {
      for (Paper paper : papers) {
        results.addAll(examiner.examine(paper, new Progress(answers == null ? null : answered)));
      }
    }
    ObjectNode report = report(chosen, results);
    if (answers != null) {
      write(Cwd.resolve(answers), String.join("", answered));
    }
    if (out != null) {
      write(Cwd.resolve(out), pretty(report));
    }
    if (json) {
      System.out.println(report);
    } else {
      print(results);
    }
    return Main.DONE;
  }

  private static void required(String option, String value) {
    if (value == null) {
      throw new UserError("eval: Missing required option: '" + option + "'");
    }
  }

  /** Asking takes hours: what cannot be written in the end is told at the start. */
  private static void writable(String option, String name) {
    if (name == null) {
      return;
    }
    Path file = Cwd.resolve(name);
    String wrong =
        Files.isDirectory(file)
            ? "is a folder, needs a file"
            : !Files.isDirectory(file.getParent())
                ? "cannot be written: no such folder"
                : Files.isWritable(file.getParent()) ? "" : "cannot be written: permission denied";
    if (!wrong.isEmpty()) {
      throw new UserError(option + ": " + file + ": " + wrong);
    }
  }

  /** Refuses options that these questions would pass over. */
  private void check(List<Paper> papers) {
    List<String> splits = papers.stream().map(Paper::split).distinct().toList();
    String wanted = "val".equals(split) ? "validation" : split;
    if (wanted != null && !splits.contains(wanted)) {
      throw new UserError(
          "--split: got '%s', the suite %s has %s alone"
              .formatted(split, suite, String.join(", ", splits)));
    }
    if (samples > 1 && papers.stream().noneMatch(p -> p.scoring() instanceof Scoring.Writing)) {
      throw new UserError("--samples: the suite " + suite + " ranks options, no answer is written");
    }
  }

  /** Of reports that are there already; asks no model. */
  private int average() {
    if (model != null || suite != null || data != null) {
      throw new UserError("--average: is of reports, and takes no --model, --suite or --data");
    }
    writable("--out", out);
    NormalizedAverage mean = NormalizedAverage.of(average.stream().map(Cwd::resolve).toList());
    if (out != null) {
      write(Cwd.resolve(out), pretty(mean.json()));
    }
    if (json) {
      System.out.println(mean.json());
      return Main.DONE;
    }
    for (NormalizedAverage.Part part : mean.parts()) {
      System.out.printf(
          Locale.ROOT,
          "%7.2f %%  %s: %.2f %%, chance %.2f %%%n",
          part.normalized(),
          part.metric(),
          part.percent(),
          part.chance());
    }
    String what = mean.isFlan() ? "FLAN's normalised average" : "normalised average";
    System.out.printf(Locale.ROOT, "%7.2f %%  %s of %d%n", mean.value(), what, mean.parts().size());
    if (!mean.missing().isEmpty()) {
      System.out.println("  not FLAN's: without " + String.join(", ", mean.missing()));
    }
    mean.deviations().forEach(other -> System.out.println("  not as FLAN asks: " + other));
    return Main.DONE;
  }

  private ExaminerOptions examinerOptions() {
    atLeast("--samples", samples, 1);
    double heat = temperature == null ? (samples > 1 ? 0.7 : 0) : temperature;
    if (!(heat >= 0) || Double.isInfinite(heat)) {
      throw new UserError("--temperature: got " + heat + ", needs a number of at least 0");
    }
    if (samples > 1 && heat == 0) {
      throw new UserError(
          "--temperature: got 0 with --samples " + samples + ": all samples would be the same");
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new UserError("--top-p: got " + topP + ", needs a number above 0 and at most 1");
    }
    ExaminerOptions.TooLong longer = oneOf("--too-long", tooLong, ExaminerOptions.TooLong.values());
    if (!precision.equals("fp32") && !precision.equals("bf16")) {
      throw new UserError("--precision: got '" + precision + "', needs fp32 or bf16");
    }
    DType storage = precision.equals("fp32") ? DType.F32 : DType.BF16;
    return new ExaminerOptions(longer, samples, heat, topP, seed, storage);
  }

  private SuiteOptions suiteOptions() {
    return new SuiteOptions(
        Optional.ofNullable(split),
        number("--shots", shots, 0),
        number("--limit", limit, 1),
        Optional.ofNullable(reasoning)
            .map(r -> oneOf("--reasoning", r, SuiteOptions.Reasoning.values())),
        number("--max-new-tokens", maxNewTokens, 1),
        tasks,
        categories);
  }

  private static OptionalInt number(String option, Integer value, int least) {
    if (value == null) {
      return OptionalInt.empty();
    }
    atLeast(option, value, least);
    return OptionalInt.of(value);
  }

  private static void atLeast(String option, int value, int least) {
    if (value < least) {
      throw new UserError(
          option + ": got " + value + ", needs a whole number of at least " + least);
    }
  }

  private static <E extends Enum<E>> E oneOf(String option, String value, E[] values) {
    List<String> names = new ArrayList<>();
    for (E candidate : values) {
      String name = candidate.name().toLowerCase(Locale.ROOT).replace('_', '-');
      if (name.equals(value)) {
        return candidate;
      }
      names.add(name);
    }
    throw new UserError(option + ": got '" + value + "', needs " + String.join(", ", names));
  }

  private ObjectNode report(Suite chosen, List<Result> results) {
    ObjectNode report = JsonNodeFactory.instance.objectNode();
    report.put("suite", chosen.name());
    report.put("model", model);
    results.forEach(result -> report.withArray("results").add(result.json()));
    return report;
  }

  private static String pretty(ObjectNode report) {
    try {
      return new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(report) + "\n";
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void write(Path file, String text) {
    DurableFiles.replace(file, text.getBytes(StandardCharsets.UTF_8));
  }

  private static void print(List<Result> results) {
    int widest = results.stream().mapToInt(result -> result.metric().length()).max().orElse(0);
    for (Result result : results) {
      boolean whole = !result.metric().contains("/");
      System.out.printf(
          Locale.ROOT,
          "%-" + widest + "s  %6.2f %%  n %d  %d-shot%n",
          result.metric(),
          result.value(),
          result.n(),
          result.shots());
      if (whole) {
        System.out.println("  " + result.scoring());
        System.out.println("  prompts " + result.promptSha256());
        counts(result);
      }
    }
  }

  private static void counts(Result result) {
    Result.Counts counts = result.counts();
    if (counts.fewerShots() > 0) {
      System.out.println("  asked with fewer shots, to fit the context: " + counts.fewerShots());
    }
    if (counts.skipped() > 0) {
      System.out.println("  left out, beyond the context: " + counts.skipped());
    }
    if (counts.cut() > 0) {
      System.out.println("  answers cut at their longest: " + counts.cut());
    }
  }

  /** Tells on standard error how far it is, and keeps the answers where they are wanted. */
  private static final class Progress implements Examiner.Listener {
    private final List<String> answered;
    private long last = System.nanoTime();

    Progress(List<String> answered) {
      this.answered = answered;
    }

    @Override
    public void asked(Paper paper, int done, int total) {
      long now = System.nanoTime();
      if (now - last > SECONDS_BETWEEN_LINES * 1_000_000_000L) {
        last = now;
        System.err.println(paper.name() + ": " + done + " of " + total);
      }
    }

    @Override
    public void answered(ObjectNode answer) {
      if (answered != null) {
        answered.add(answer + "\n");
      }
    }
  }
}
