package dev.caravan.data.mix;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.source.DataFiles;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Finds what cannot be drawn from.
 *
 * @param from the mixture file, or another name of what declares it
 */
record MixtureChecks(String from, Map<String, TaskSpec> tasks, Map<String, MixSpec> mixes) {
  /**
   * Looks at the parts of all mixtures, none of which contains itself.
   *
   * @throws UserError for one that is unknown, held out, or a task without training rows
   */
  void parts() {
    Set<String> known = new TreeSet<>(tasks.keySet());
    known.addAll(mixes.keySet());
    for (MixSpec mix : mixes.values()) {
      boolean isGroup = mix.parts().keySet().stream().allMatch(p -> p.startsWith(mix.name() + "/"));
      boolean named = !mix.name().equals(MixSpec.ALL);
      String where = from + (named ? ".mixtures." + mix.name() + ".parts: " : ".tasks: ");
      for (String part : mix.parts().keySet()) {
        if (!known.contains(part)) {
          throw new UserError(where + Nearest.unknown("task or mixture", part, known));
        }
        TaskSpec task = tasks.get(part);
        if (task != null && task.heldOut() && !isGroup) {
          throw new UserError(where + "task '" + part + "' is held out, so it is never trained on");
        }
        if (task == null && !isGroup && isHeldOut(part)) {
          throw new UserError(
              where + "every task of '" + part + "' is held out, so it is never trained on");
        }
        if (task != null && task.paths().isEmpty()) {
          throw new UserError(
              where
                  + "task '"
                  + part
                  + "' has no training split; give it a path, or "
                  + (named ? "leave it out of the mixture" : "say in mixtures what is drawn"));
        }
      }
    }
  }

  /** Whether all tasks below a part are; one that is unknown is not. */
  private boolean isHeldOut(String part) {
    MixSpec mix = mixes.get(part);
    if (mix != null) {
      return mix.parts().keySet().stream().allMatch(this::isHeldOut);
    }
    return tasks.containsKey(part) && tasks.get(part).heldOut();
  }

  /**
   * Looks for files that a task trains on though they are of another of its splits, as where its
   * path is the folder of both.
   *
   * @throws UserError naming the file; or if a split names none
   */
  void splits(List<TaskSpec> drawn) {
    for (TaskSpec task : drawn) {
      if (task.splits().isEmpty()) {
        continue;
      }
      Set<Path> trained = new HashSet<>();
      DataFiles.resolve(task.paths()).forEach(path -> trained.add(path.toAbsolutePath()));
      task.splits()
          .forEach(
              (split, paths) -> {
                for (Path path : DataFiles.resolve(paths)) {
                  if (trained.contains(path.toAbsolutePath())) {
                    throw new UserError(
                        "%s.tasks.%s.path: %s is of the split '%s' too; name the training files alone"
                            .formatted(from, task.name(), path, split));
                  }
                }
              });
    }
  }

  /**
   * Looks for metrics that a task does not have what they need.
   *
   * @throws UserError for one that ranks options of a task without any
   */
  void metrics() {
    for (TaskSpec task : tasks.values()) {
      for (TaskMetric metric : task.about().metrics()) {
        if (metric.ranks() && task.wording().options().isEmpty()) {
          throw new UserError(
              "%s.tasks.%s.metrics: %s ranks answer options, the task has none"
                  .formatted(from, task.name(), metric.id()));
        }
      }
    }
  }

  /**
   * Looks for mixtures that contain themselves.
   *
   * @throws UserError naming the way
   */
  void cycles() {
    Set<String> done = new LinkedHashSet<>();
    mixes.keySet().forEach(name -> visit(name, new ArrayList<>(), done));
  }

  private void visit(String name, List<String> way, Set<String> done) {
    if (way.contains(name)) {
      List<String> cycle = new ArrayList<>(way.subList(way.indexOf(name), way.size()));
      cycle.add(name);
      throw new UserError(
          from + ".mixtures: a mixture contains itself: " + String.join(" > ", cycle));
    }
    if (!mixes.containsKey(name) || done.contains(name)) {
      return;
    }
    way.add(name);
    mixes.get(name).parts().keySet().forEach(part -> visit(part, way, done));
    way.remove(way.size() - 1);
    done.add(name);
  }
}
