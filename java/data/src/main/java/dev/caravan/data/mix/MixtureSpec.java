package dev.caravan.data.mix;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.mix.words.Wording;
import dev.caravan.data.source.Format;
import dev.caravan.data.template.Template;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * A mixture file, read and checked as far as that goes without its data.
 *
 * @param file as the user named it
 * @param tasks in the order of the file, files of a group in sorted order
 * @param mixes by name; groups of files are mixtures too
 * @param root the mixture that is trained on
 * @param badRows what happens to a malformed row
 * @param stop what an epoch is
 */
public record MixtureSpec(
    String file,
    Map<String, TaskSpec> tasks,
    Map<String, MixSpec> mixes,
    String root,
    BadRows badRows,
    Stop stop) {

  /** What happens to a row that is malformed or lacks a field. */
  public enum BadRows {
    /** The run stops, naming file and line. */
    STOP,
    /** It is left out and counted. */
    SKIP
  }

  /** When an epoch of a mixture is over. */
  public enum Stop {
    /** As many examples as the tasks have rows together. */
    EPOCHS,
    /** When some task has come to the end of its rows. */
    FIRST_EXHAUSTED,
    /** When every task has; the others repeat meanwhile. */
    ALL_EXHAUSTED,
    /** Never: the run counts steps. */
    STEPS
  }

  /** A mixture of one task, {@code data}, of files that a run names by themselves. */
  public static MixtureSpec of(
      List<String> paths, Format format, Map<String, String> fields, Optional<Template> template) {
    TaskSpec task =
        TaskSpec.of("data", paths.toArray(String[]::new))
            .read(format, fields)
            .worded(template.stream().toList(), TaskSpec.Choice.ROUND_ROBIN, Wording.NONE);
    return declared(
        "data.path", List.of(task), List.of(MixSpec.equal("all", List.of("data"))), "all");
  }

  /**
   * A mixture that Java declares. Bad rows stop it, and an epoch is as many examples as rows.
   *
   * @param name of it in errors, for a file's
   * @param tasks all that are drawn from or held out
   * @param mixes of tasks and of each other
   * @param root the mixture that is trained on
   * @throws UserError for two of one name, a part that is unknown or cannot be trained on, a cycle,
   *     a metric that a task lacks the options for, or if nothing is drawn
   */
  public static MixtureSpec declared(
      String name, List<TaskSpec> tasks, List<MixSpec> mixes, String root) {
    Map<String, TaskSpec> byName = new LinkedHashMap<>();
    Map<String, MixSpec> mixesByName = new LinkedHashMap<>();
    for (TaskSpec task : tasks) {
      if (byName.put(task.name(), task) != null) {
        throw new UserError(name + ": two tasks are called '" + task.name() + "'");
      }
    }
    for (MixSpec mix : mixes) {
      if (byName.containsKey(mix.name()) || mixesByName.put(mix.name(), mix) != null) {
        throw new UserError(name + ": '" + mix.name() + "' is a task or a mixture already");
      }
    }
    if (!mixesByName.containsKey(root)) {
      throw new UserError(name + ": " + Nearest.unknown("mixture", root, mixesByName.keySet()));
    }
    MixtureChecks checks = new MixtureChecks(name, byName, mixesByName);
    checks.cycles();
    checks.parts();
    checks.metrics();
    MixtureSpec spec = new MixtureSpec(name, byName, mixesByName, root, BadRows.STOP, Stop.EPOCHS);
    if (spec.trained().isEmpty()) {
      throw spec.error("mixture '" + root + "' has no task that is not held out");
    }
    return spec;
  }

  /** The same mixture with another policy for bad rows, and another epoch. */
  public MixtureSpec with(BadRows bad, Stop epoch) {
    return new MixtureSpec(file, tasks, mixes, root, bad, epoch);
  }

  /** The tasks that the root mixture reaches and that are trained on, in order. */
  public List<TaskSpec> trained() {
    Set<String> reached = new LinkedHashSet<>();
    reach(root, reached);
    return tasks.values().stream()
        .filter(task -> reached.contains(task.name()) && !task.heldOut())
        .toList();
  }

  /**
   * The same mixture, drawing from some of its tasks alone, at the rates that these have among each
   * other. What is held out stays.
   *
   * @param names of tasks, or of mixtures of them
   * @param where for errors
   * @throws UserError for a name that is not there, or if nothing is left to draw from
   */
  public MixtureSpec only(List<String> names, String where) {
    Set<String> kept = new LinkedHashSet<>();
    for (String name : names) {
      if (!tasks.containsKey(name) && !mixes.containsKey(name)) {
        Set<String> known = new TreeSet<>(tasks.keySet());
        known.addAll(mixes.keySet());
        throw new UserError(where + ": " + Nearest.unknown("task or mixture", name, known));
      }
      reach(name, kept);
    }
    Map<String, TaskSpec> left = new LinkedHashMap<>();
    tasks.forEach(
        (name, task) -> {
          if (task.heldOut() || kept.contains(name)) {
            left.put(name, task);
          }
        });
    MixtureSpec part = new MixtureSpec(file, left, mixes, root, badRows, stop);
    if (part.trained().isEmpty()) {
      throw new UserError(
          where + ": mixture '" + root + "' of " + file + " draws from none of them");
    }
    return part;
  }

  private void reach(String name, Set<String> reached) {
    MixSpec mix = mixes.get(name);
    if (mix == null) {
      reached.add(name);
      return;
    }
    mix.parts().keySet().forEach(part -> reach(part, reached));
  }

  UserError error(String what) {
    return new UserError(file + ": " + what);
  }
}
