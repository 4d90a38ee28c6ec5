package dev.caravan.data.mix;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.source.DataFiles;
import dev.caravan.data.source.Format;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.GZIPInputStream;

/**
 * The kinds of tasks: those that a mixture file gives, else those that a task file of
 * Super-NaturalInstructions names under {@code Categories}.
 */
final class Categories {
  private static final String FIELD = "Categories";

  private Categories() {}

  /**
   * The names of the tasks that are of one of some categories.
   *
   * @param where for errors
   * @throws UserError for a category that no task has
   */
  static Set<String> tasks(Collection<TaskSpec> tasks, List<String> categories, String where) {
    Set<String> wanted = new HashSet<>();
    categories.forEach(category -> wanted.add(plain(category)));
    Set<String> known = new TreeSet<>();
    Set<String> found = new HashSet<>();
    Set<String> names = new LinkedHashSet<>();
    for (TaskSpec task : tasks) {
      for (String category : of(task)) {
        known.add(category);
        if (wanted.contains(plain(category))) {
          found.add(plain(category));
          names.add(task.name());
        }
      }
    }
    for (String category : categories) {
      if (!found.contains(plain(category))) {
        throw new UserError(where + ": " + Nearest.unknown("category", category, known));
      }
    }
    return names;
  }

  private static List<String> of(TaskSpec task) {
    List<String> given = task.about().categories();
    boolean mayName = task.format() == Format.SUPERNI || task.format() == Format.AUTO;
    if (!given.isEmpty() || !mayName) {
      return given;
    }
    List<String> all = new ArrayList<>();
    for (Path file : DataFiles.resolve(task.paths())) {
      if (DataFiles.ending(file).equals("json")) {
        all.addAll(named(file));
      }
    }
    return all;
  }

  /** Reads no further than to the field; a file that is no task file has none. */
  private static List<String> named(Path file) {
    List<String> names = new ArrayList<>();
    try (InputStream in = open(file);
        JsonParser json = new JsonFactory().createParser(in)) {
      if (json.nextToken() != JsonToken.START_OBJECT) {
        return names;
      }
      while (json.nextToken() == JsonToken.FIELD_NAME) {
        String field = json.currentName();
        JsonToken value = json.nextToken();
        if (!field.equals(FIELD)) {
          json.skipChildren();
          continue;
        }
        if (value == JsonToken.VALUE_STRING) {
          names.add(json.getText());
        }
        while (value == JsonToken.START_ARRAY && json.nextToken() == JsonToken.VALUE_STRING) {
          names.add(json.getText());
        }
        return names;
      }
      return names;
    } catch (JsonProcessingException e) {
      long line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw UserError.at(file, line, "not valid JSON, in which its categories are looked for");
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static InputStream open(Path file) throws IOException {
    InputStream in = new BufferedInputStream(Files.newInputStream(file));
    return file.toString().endsWith(".gz") ? new GZIPInputStream(in) : in;
  }

  private static String plain(String category) {
    return category.strip().toLowerCase(Locale.ROOT);
  }
}
