package dev.caravan.data.mix;

import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.source.Format;
import dev.caravan.data.template.Template;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A task of a mixture: a source, how its records become examples, the words for these, and where it
 * comes from.
 *
 * @param name unique in its mixture file
 * @param paths files, folders or globs of the training split; empty if the task has none
 * @param format what a record means
 * @param fields the format's field names to the files', for those that differ
 * @param rows only so many of the first rows are read; 0 for all
 * @param templates phrasings; empty for the format's own
 * @param choose how an example's phrasing is chosen
 * @param wording what examples have besides: exemplars, options, phrases
 * @param heldOut never trained on
 * @param splits other splits by name, as files, folders or globs
 * @param about what is known of it besides; training looks at none of it
 */
public record TaskSpec(
    String name,
    List<String> paths,
    Format format,
    Map<String, String> fields,
    int rows,
    List<Template> templates,
    Choice choose,
    Wording wording,
    boolean heldOut,
    Map<String, List<String>> splits,
    About about) {
  public TaskSpec {
    paths = List.copyOf(paths);
    fields = Map.copyOf(fields);
    templates = List.copyOf(templates);
    splits = Map.copyOf(splits);
  }

  /**
   * A task of the format that its files show, without templates of its own.
   *
   * @param paths files, folders or globs of the training split
   */
  public static TaskSpec of(String name, String... paths) {
    return new TaskSpec(
        name,
        List.of(paths),
        Format.AUTO,
        Map.of(),
        0,
        List.of(),
        Choice.ROUND_ROBIN,
        Wording.NONE,
        false,
        Map.of(),
        new About(List.of(), List.of(), Optional.empty(), Optional.empty(), Optional.empty()));
  }

  /**
   * The same task with another format.
   *
   * @param mapped the format's field names to the files', for those that differ
   */
  public TaskSpec read(Format as, Map<String, String> mapped) {
    return new TaskSpec(
        name, paths, as, mapped, rows, templates, choose, wording, heldOut, splits, about);
  }

  /** The same task, of whose rows only the first are read. */
  public TaskSpec first(int most) {
    return new TaskSpec(
        name, paths, format, fields, most, templates, choose, wording, heldOut, splits, about);
  }

  /** The same task in other words. */
  public TaskSpec worded(List<Template> words, Choice chosen, Wording besides) {
    return new TaskSpec(
        name, paths, format, fields, rows, words, chosen, besides, heldOut, splits, about);
  }

  /** The same task with other splits, by name, that are never trained on. */
  public TaskSpec with(Map<String, List<String>> others) {
    return new TaskSpec(
        name, paths, format, fields, rows, templates, choose, wording, heldOut, others, about);
  }

  /** The same task with what is known of it. */
  public TaskSpec with(About known) {
    return new TaskSpec(
        name, paths, format, fields, rows, templates, choose, wording, heldOut, splits, known);
  }

  /** How the phrasing of an example is chosen among several. */
  public enum Choice {
    /** By (row + visit) modulo their number. */
    ROUND_ROBIN,
    /** By a hash of seed, row and visit. */
    RANDOM
  }

  /**
   * What is known of a task.
   *
   * @param categories what kind of task it is; empty where its file says
   * @param metrics by which its answers are scored where it is held out, besides exact match
   * @param licence of the data
   * @param source where the data comes from
   * @param version of the data
   */
  public record About(
      List<String> categories,
      List<TaskMetric> metrics,
      Optional<String> licence,
      Optional<String> source,
      Optional<String> version) {
    public About {
      categories = List.copyOf(categories);
      metrics = List.copyOf(metrics);
    }
  }

  /** Everything that decides how a record is put into words, as text that other words differ in. */
  String words() {
    return templates.stream().map(Template::words).toList() + " " + choose + " " + wording;
  }

  /** The same task under another name, of one file. */
  TaskSpec ofFile(String other, String file) {
    return new TaskSpec(
        other,
        List.of(file),
        format,
        fields,
        rows,
        templates,
        choose,
        wording,
        heldOut,
        splits,
        about);
  }

  /** The same task, never trained on. */
  public TaskSpec asHeldOut() {
    return new TaskSpec(
        name, paths, format, fields, rows, templates, choose, wording, true, splits, about);
  }
}
