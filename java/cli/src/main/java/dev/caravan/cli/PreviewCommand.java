package dev.caravan.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.doctor.Finding;
import dev.caravan.data.pack.PackStatistics;
import dev.caravan.data.pack.PairStatistics;
import dev.caravan.data.task.DecodedRow;
import dev.caravan.data.task.Distribution;
import dev.caravan.data.task.RowStatistics;
import dev.caravan.data.task.TruncationReport.FileCounts;
import dev.caravan.train.PairPreview;
import dev.caravan.train.Preview;
import dev.caravan.train.RunMixture;
import dev.caravan.train.TaskShare;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan preview}: what training would see. */
@Command(name = "preview")
final class PreviewCommand implements Callable<Integer> {
  private static final int TASKS_SHOWN = 20;
  private static final int FINDINGS_SHOWN = 20;

  @Mixin RunOptions run;

  @Option(names = "--json")
  boolean json;

  @Override
  public Integer call() {
    Preview preview = Preview.of(run.read());
    if (json) {
      System.out.println(toJson(preview));
    } else {
      print(preview);
    }
    return preview.isSerious() ? Main.BAD_INPUT : Main.DONE;
  }

  private static double rate(Preview preview, FileCounts file) {
    return (double) file.kept() / preview.files().total().kept();
  }

  private static void print(Preview preview) {
    for (FileCounts file : preview.files().files()) {
      // The counts go to a line of their own where a long path leaves them no room.
      String described = String.format(Locale.ROOT, "%5.1f %%  %s", 100 * rate(preview, file), file.describe());
      int path = described.indexOf(file.file() + ": ") + file.file().length() + 1;
      boolean fits = described.length() <= Terminal.COLUMNS;
      System.out.println(
          fits ? described : described.substring(0, path) + "\n        " + described.substring(path).strip());
    }
    preview.mixture().ifPresent(mixture -> mixture.table().forEach(System.out::println));
    RowStatistics rows = preview.rows();
    line("");
    line("rows         %,d, %,d of them twins of earlier ones", rows.rows(), rows.duplicates());
    line(
        "tokens       %,d, %,d of them targets (%.1f %%)",
        rows.tokens(), rows.targets(), 100 * rows.targetShare());
    preview.packing().ifPresent(packing -> print(preview, packing));
    preview.pairs().ifPresent(pairs -> print(preview, pairs));
    tasks(preview.tasks());
    line("");
    line("The first buffer begins with these; what is learnt is between [[ and ]].");
    line("Long lines are folded.");
    for (Preview.Document document : preview.first()) {
      line("");
      line("--- example %d", document.example());
      print(document.row());
    }
    if (!preview.phrasings().isEmpty()) {
      line("");
      line("A row in each phrasing of the tasks that are drawn most.");
    }
    for (Preview.Phrasing phrasing : preview.phrasings()) {
      line("");
      folded("--- task %s, template %s".formatted(phrasing.task(), phrasing.template()));
      print(phrasing.row());
    }
    line("");
    line("findings     %d", preview.findings().size());
    preview.findings().stream().limit(FINDINGS_SHOWN).forEach(f -> folded(f.toString()));
    if (preview.findings().size() > FINDINGS_SHOWN) {
      line("%,d more, all of them in --json", preview.findings().size() - FINDINGS_SHOWN);
    }
  }

  private static void print(Preview preview, PackStatistics packing) {
    print("a row", preview.rows().lengths());
    print("its targets", preview.rows().targetLengths());
    line("");
    line("steps        %,d; of the first %,d:", preview.steps(), packing.steps());
    line(
        "a step       %.1f examples in %.1f buffers, %,.0f tokens,%n             %,.0f targets, at least %,d",
        (double) packing.documents() / packing.steps(),
        (double) packing.microBatches() / packing.steps(),
        (double) packing.inputTokens() / packing.steps(),
        (double) packing.targetTokens() / packing.steps(),
        packing.fewestTargets());
    line("padding      %.1f %%", 100 * packing.paddingShare());
  }

  private static void print(Preview preview, PairPreview pairs) {
    PairStatistics packing = pairs.packing();
    print("a source", pairs.sources());
    print("a target", pairs.targets());
    line("");
    line("steps        %,d; of the first %,d:", preview.steps(), packing.steps());
    line(
        "a step       %.1f examples in %.1f pairs of buffers, %,.0f source tokens,%n"
            + "             %,.0f target tokens",
        (double) packing.documents() / packing.steps(),
        (double) packing.microBatches() / packing.steps(),
        (double) packing.sourceTokens() / packing.steps(),
        (double) packing.targetTokens() / packing.steps());
    line(
        "padding      %.1f %% of the encoder's %,d, %.1f %% of the decoder's %,d",
        100 * packing.sourcePaddingShare(),
        pairs.shape().sourceTokens(),
        100 * packing.targetPaddingShare(),
        pairs.shape().targetTokens());
  }

  private static void folded(String line) {
    Folded text = new Folded(Terminal.COLUMNS, false);
    text.plain(line);
    System.out.println(text);
  }

  private static void print(DecodedRow row) {
    Folded text = new Folded(Terminal.COLUMNS, Terminal.coloured());
    for (DecodedRow.Span span : row.spans()) {
      if (span.target()) {
        text.marked("[[" + span.text() + "]]");
      } else {
        text.plain(span.text());
      }
    }
    System.out.println(text);
  }

  /** The tasks that come up most among the first examples. */
  private static void tasks(List<TaskShare> tasks) {
    if (tasks.isEmpty()) {
      return;
    }
    line("");
    line("The first examples by task; tokens of those that are kept.");
    line("examples    cut  no target  target cut   half  9 in 10    max  task");
    tasks.stream()
        .sorted(Comparator.comparingLong(TaskShare::examples).reversed())
        .limit(TASKS_SHOWN)
        .forEach(
            t ->
                line(
                    "%,8d %,6d %,10d %,11d %,6d %,8d %,6d  %s",
                    t.examples(),
                    t.truncated(),
                    t.emptyTarget(),
                    t.cutTarget(),
                    t.lengths().median(),
                    t.lengths().p90(),
                    t.lengths().max(),
                    t.task()));
    if (tasks.size() > TASKS_SHOWN) {
      line("%,d more tasks, all of them in --json", tasks.size() - TASKS_SHOWN);
    }
  }

  private static void print(String what, Distribution d) {
    line(
        "%-12s %d to %d tokens, half up to %d, nine in ten up to %d, mean %.1f",
        what, d.min(), d.max(), d.median(), d.p90(), d.mean());
  }

  private static void line(String format, Object... values) {
    System.out.println(String.format(Locale.ROOT, format, values));
  }

  private static ObjectNode toJson(Preview preview) {
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    ArrayNode files = out.putArray("files");
    for (FileCounts file : preview.files().files()) {
      files
          .addObject()
          .put("file", file.file())
          .put("rate", rate(preview, file))
          .put("rows", file.read())
          .put("kept", file.kept())
          .put("truncated", file.truncated())
          .put("tokens_cut", file.tokensCut())
          .put("empty_target", file.emptyTarget())
          .put("cut_target", file.cutTarget())
          .put("evaluated_on", file.copies());
    }
    preview.mixture().ifPresent(mixture -> out.set("mixture", RunMixture.toJson(mixture)));
    RowStatistics rows = preview.rows();
    out.put("rows", rows.rows()).put("duplicates", rows.duplicates());
    out.put("tokens", rows.tokens()).put("targets", rows.targets());
    out.set("lengths", toJson(rows.lengths()));
    out.set("target_lengths", toJson(rows.targetLengths()));
    out.put("labels_not_at_position", rows.otherLabels());
    out.put("steps", preview.steps());
    preview.packing().ifPresent(packing -> put(out, packing));
    preview.pairs().ifPresent(pairs -> put(out, pairs));
    lists(out, preview);
    return out;
  }

  private static void put(ObjectNode out, PackStatistics packing) {
    out.putObject("packing")
        .put("steps", packing.steps())
        .put("micro_batches", packing.microBatches())
        .put("documents", packing.documents())
        .put("input_tokens", packing.inputTokens())
        .put("target_tokens", packing.targetTokens())
        .put("padding_tokens", packing.paddingTokens())
        .put("padding_share", packing.paddingShare())
        .put("fewest_targets", packing.fewestTargets());
  }

  private static void put(ObjectNode out, PairPreview pairs) {
    PairStatistics packing = pairs.packing();
    out.set("source_lengths", toJson(pairs.sources()));
    out.putObject("packing")
        .put("steps", packing.steps())
        .put("micro_batches", packing.microBatches())
        .put("documents", packing.documents())
        .put("source_tokens", packing.sourceTokens())
        .put("source_padding_tokens", packing.sourcePadding())
        .put("source_padding_share", packing.sourcePaddingShare())
        .put("target_tokens", packing.targetTokens())
        .put("target_padding_tokens", packing.targetPadding())
        .put("target_padding_share", packing.targetPaddingShare())
        .put("targets", packing.targets());
  }

  private static void lists(ObjectNode out, Preview preview) {
    ArrayNode first = out.putArray("first");
    for (Preview.Document document : preview.first()) {
      ObjectNode row = first.addObject().put("example", document.example());
      row.set("spans", toJson(document.row()));
    }
    ArrayNode tasks = out.putArray("tasks");
    for (TaskShare t : preview.tasks()) {
      ObjectNode node =
          tasks
              .addObject()
              .put("task", t.task())
              .put("examples", t.examples())
              .put("truncated", t.truncated())
              .put("tokens_cut", t.tokensCut())
              .put("empty_target", t.emptyTarget())
              .put("cut_target", t.cutTarget())
              .put("target_truncated", t.targetTruncated());
      node.set("lengths", toJson(t.lengths()));
      node.set("target_lengths", toJson(t.targetLengths()));
    }
    ArrayNode phrasings = out.putArray("phrasings");
    for (Preview.Phrasing phrasing : preview.phrasings()) {
      phrasings
          .addObject()
          .put("task", phrasing.task())
          .put("template", phrasing.template())
          .put("where", phrasing.where())
          .set("spans", toJson(phrasing.row()));
    }
    ArrayNode findings = out.putArray("findings");
    for (Finding finding : preview.findings()) {
      findings
          .addObject()
          .put("severity", finding.severity().name().toLowerCase(Locale.ROOT))
          .put("check", finding.check())
          .put("where", finding.where())
          .put("what", finding.what())
          .put("advice", finding.advice());
    }
  }

  private static ArrayNode toJson(DecodedRow row) {
    ArrayNode spans = JsonNodeFactory.instance.arrayNode();
    for (DecodedRow.Span span : row.spans()) {
      ObjectNode node = spans.addObject().put("target", span.target()).put("text", span.text());
      span.ids().forEach(node.putArray("ids")::add);
    }
    return spans;
  }

  private static ObjectNode toJson(Distribution d) {
    return JsonNodeFactory.instance
        .objectNode()
        .put("min", d.min())
        .put("median", d.median())
        .put("p90", d.p90())
        .put("p99", d.p99())
        .put("max", d.max())
        .put("mean", d.mean());
  }
}
