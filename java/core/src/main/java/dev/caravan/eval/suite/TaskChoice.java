package dev.caravan.eval.suite;

import com.fasterxml.jackson.databind.JsonNode;
import dev.caravan.data.Glob;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;

/** Which tasks a user wants to be asked: by name or glob, and by category. */
final class TaskChoice {
  private final List<String> globs;
  private final List<String> categories;
  private final Set<String> seenNames = new TreeSet<>();
  private final Set<String> seenCategories = new TreeSet<>();
  private final Set<String> used = new HashSet<>();
  private final Set<String> taken = new LinkedHashSet<>();

  TaskChoice(SuiteOptions options) {
    globs = options.tasks();
    categories = options.categories();
  }

  /** Whether the name alone does not rule a task out. */
  boolean mayBe(String task) {
    seenNames.add(task);
    boolean named = globs.isEmpty();
    for (String glob : globs) {
      if (Glob.of(glob, "--tasks").matches(Path.of(task))) {
        used.add(glob);
        named = true;
      }
    }
    return named;
  }

  /**
   * Whether a task is wanted, whose name is.
   *
   * @param own its categories: a list, or one text
   */
  boolean has(String task, JsonNode own) {
    List<String> names = new ArrayList<>();
    if (own.isTextual()) {
      names.add(own.asText());
    }
    own.forEach(name -> names.add(name.asText()));
    seenCategories.addAll(names);
    boolean wanted = categories.isEmpty();
    for (String category : categories) {
      if (names.stream().anyMatch(name -> plain(name).equals(plain(category)))) {
        used.add(category);
        wanted = true;
      }
    }
    if (wanted) {
      taken.add(task);
    }
    return wanted;
  }

  /**
   * Refuses names that nothing has.
   *
   * @throws UserError naming the nearest
   */
  void requireAll() {
    for (String glob : globs) {
      if (!used.contains(glob)) {
        throw new UserError("--tasks: " + Nearest.unknown("task", glob, seenNames));
      }
    }
    for (String category : categories) {
      if (!used.contains(category)) {
        throw new UserError(
            "--categories: " + Nearest.unknown("category", category, seenCategories));
      }
    }
  }

  /** What the result says about it. */
  List<String> notes() {
    List<String> notes = new ArrayList<>();
    if (!globs.isEmpty()) {
      notes.add("only tasks " + String.join(", ", globs));
    }
    if (!categories.isEmpty()) {
      notes.add("only categories " + String.join(", ", categories));
    }
    if (!notes.isEmpty()) {
      notes.add(taken.size() + " tasks");
    }
    return notes;
  }

  private static String plain(String category) {
    return category.strip().toLowerCase(Locale.ROOT);
  }
}
