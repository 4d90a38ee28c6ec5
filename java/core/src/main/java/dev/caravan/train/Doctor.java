package dev.caravan.train;

import dev.caravan.data.RowSet;
import dev.caravan.data.UserError;
import dev.caravan.data.cache.CacheKey;
import dev.caravan.data.doctor.Finding;
import dev.caravan.data.doctor.LossCheck;
import dev.caravan.data.doctor.OptionCheck;
import dev.caravan.data.doctor.Overlap;
import dev.caravan.data.doctor.OverlapCheck;
import dev.caravan.data.doctor.RateCheck;
import dev.caravan.data.doctor.RowCheck;
import dev.caravan.data.doctor.Source;
import dev.caravan.data.doctor.TemplateCheck;
import dev.caravan.data.mix.Losses;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.mix.MixtureSpec;
import dev.caravan.data.mix.TaskSpec;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.ExampleReader;
import dev.caravan.data.source.Format;
import dev.caravan.data.task.DecodedRow;
import dev.caravan.data.task.TruncationReport;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.Templates;
import dev.caravan.data.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;

/** What may be wrong with the data of a run, found before it is trained on. */
final class Doctor {
  /** Rows whose text is looked at. */
  private static final int DECODED = 2048;

  private final RunConfig config;
  private final RunData data;
  private final Tokenizer tokenizer;

  /**
   * @param tokenizer of the run; null where it has none
   */
  Doctor(RunConfig config, RunData data, Tokenizer tokenizer) {
    this.config = config;
    this.data = data;
    this.tokenizer = tokenizer;
  }

  /**
   * Looks at everything; serious findings come first.
   *
   * @param mixture what the run draws, where it names a mixture
   * @param most rows to look at, where they are made on demand
   */
  List<Finding> findings(Optional<MixtureReport> mixture, int most) {
    RowSet rows = data.train().rows();
    List<Finding> all = new ArrayList<>(RowCheck.of(rows, looked(rows, most), tokenizer));
    all.addAll(options(rows));
    all.addAll(templates());
    all.addAll(LossCheck.of(losses()));
    mixture.ifPresent(report -> all.addAll(RateCheck.of(report)));
    all.addAll(
        OverlapCheck.of(
            trainingSources(config),
            OverlapCheck.evaluation(evaluationSources(config)),
            Fields.name(config.data().dropCopies())));
    List<Finding> sorted = new ArrayList<>(all.stream().filter(Finding::isSerious).toList());
    all.stream().filter(finding -> !finding.isSerious()).forEach(sorted::add);
    return sorted;
  }

  private int looked(RowSet rows, int most) {
    return data.mixture().isPresent() ? Math.min(most, rows.size()) : rows.size();
  }

  private List<Finding> options(RowSet rows) {
    OptionCheck check = new OptionCheck();
    for (int i = 0; tokenizer != null && i < Math.min(DECODED, rows.size()); i++) {
      String prompt = "";
      for (DecodedRow.Span span : DecodedRow.of(rows.row(i), tokenizer).spans()) {
        if (span.target()) {
          check.add(group(rows, i), rows.where(i), prompt, span.text());
          break;
        }
        prompt = span.text();
      }
    }
    return check.findings();
  }

  /** What the tokenizer does to the words of templates; rows that are tokens already have none. */
  private List<Finding> templates() {
    if (tokenizer == null) {
      return List.of();
    }
    TemplateCheck check = new TemplateCheck(tokenizer);
    if (data.mixture().isPresent()) {
      for (TaskSpec task : data.mixture().get().spec().trained()) {
        boolean lists =
            task.wording().shots().isPresent() || task.wording().options().isPresent();
        for (Template template : Mixture.templates(task, tokenizer)) {
          String writes = String.join("", template.literals()) + (lists ? "\n" : "");
          check.add("task " + task.name(), template.name(), writes);
        }
      }
      return check.findings();
    }
    RunConfig.Data d = config.data();
    for (Path file : DataFiles.resolve(d.paths())) {
      Format format = ExampleReader.formatOf(file, d.format(), d.fields());
      if (format != Format.TEXT && format != Format.TOKENS) {
        Template template =
            d.template().map(Templates::of).orElseGet(() -> Templates.forFormat(format, tokenizer));
        check.add(file.toString(), template.name(), String.join("", template.literals()));
      }
    }
    return check.findings();
  }

  /** Rows that are alike: those of a task, or of a file. */
  private String group(RowSet rows, int row) {
    if (data.mixture().isPresent()) {
      Mixture mixture = data.mixture().get();
      return "task " + mixture.names().get(mixture.rows().order().at(row).task());
    }
    return rows.where(row).replaceFirst(":[0-9]+$", "");
  }

  private List<LossCheck.Counts> losses() {
    List<LossCheck.Counts> counts = new ArrayList<>();
    files(data.train().report(), counts);
    data.heldOut().ifPresent(rows -> files(rows.report(), counts));
    data.tasks().values().forEach(rows -> files(rows.report(), counts));
    data.mixture()
        .ifPresent(
            mixture -> {
              Losses losses = mixture.rows().losses();
              for (int t = 0; t < mixture.names().size(); t++) {
                counts.add(
                    new LossCheck.Counts(
                        "task " + mixture.names().get(t),
                        losses.made(t),
                        losses.truncated(t),
                        losses.tokensCut(t),
                        losses.emptyTarget(t),
                        losses.cutTarget(t)));
              }
            });
    return counts;
  }

  private static void files(TruncationReport report, List<LossCheck.Counts> into) {
    for (TruncationReport.FileCounts file : report.files()) {
      into.add(
          new LossCheck.Counts(
              file.file(),
              file.read(),
              file.truncated(),
              file.tokensCut(),
              file.emptyTarget(),
              file.cutTarget()));
    }
  }

  /**
   * Which examples a run leaves out of training because it evaluates on them.
   *
   * @throws UserError if evaluation rows cannot be read
   */
  static Predicate<Example> dropped(RunConfig config) {
    boolean near = config.data().dropCopies() == RunConfig.DropCopies.NEAR;
    if (config.data().dropCopies() == RunConfig.DropCopies.NONE) {
      return example -> false;
    }
    Overlap evaluation = OverlapCheck.evaluation(evaluationSources(config));
    return example -> evaluation.find(example).filter(copy -> near || copy.exact()).isPresent();
  }

  /** Tells apart runs that {@linkplain #dropped leave out} other examples; "" where none are. */
  static String droppedBy(RunConfig config) {
    if (config.data().dropCopies() == RunConfig.DropCopies.NONE) {
      return "";
    }
    CacheKey key = new CacheKey("dropped").put(config.data().dropCopies().toString());
    for (Source source : evaluationSources(config)) {
      key.put(source.format() + " " + new TreeMap<>(source.fields()) + " " + source.rows());
      DataFiles.resolve(source.paths()).forEach(key::putContent);
    }
    return HexFormat.of().formatHex(key.bytes());
  }

  private static List<Source> trainingSources(RunConfig config) {
    RunConfig.Data d = config.data();
    if (d.mixture().isPresent()) {
      return mixture(config).trained().stream().map(task -> source(task, task.paths())).toList();
    }
    return List.of(new Source("data.path", d.paths(), d.format(), d.fields(), 0));
  }

  /** Everything that is evaluated on: files of the run, held-out tasks and splits of its mixture. */
  private static List<Source> evaluationSources(RunConfig config) {
    List<Source> sources = new ArrayList<>();
    RunConfig.Eval eval = config.eval();
    eval.data().ifPresent(file -> sources.add(file(config, "eval.data", file)));
    eval.tasks().forEach((name, file) -> sources.add(file(config, "eval.tasks." + name, file)));
    eval.exactMatch()
        .forEach((name, file) -> sources.add(file(config, "eval.exact_match." + name, file)));
    if (config.data().mixture().isPresent()) {
      for (TaskSpec task : mixture(config).tasks().values()) {
        task.splits().values().forEach(paths -> sources.add(source(task, paths)));
        if (task.heldOut() && !task.paths().isEmpty()) {
          sources.add(source(task, task.paths()));
        }
      }
    }
    return sources;
  }

  private static MixtureSpec mixture(RunConfig config) {
    return RunMixture.spec(config);
  }

  private static Source file(RunConfig config, String key, Path file) {
    RunConfig.Data d = config.data();
    return new Source(key, List.of(file.toString()), d.format(), d.fields(), 0);
  }

  private static Source source(TaskSpec task, List<String> paths) {
    return new Source("task " + task.name(), paths, task.format(), task.fields(), task.rows());
  }
}
