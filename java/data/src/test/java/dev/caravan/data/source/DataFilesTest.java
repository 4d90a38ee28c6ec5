package dev.caravan.data.source;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DataFilesTest {
  @TempDir Path folder;

  @BeforeEach
  void files() throws IOException {
    for (String name :
        List.of("b.jsonl", "a.jsonl", "c.txt", "README.md", ".hidden.jsonl", "sub/d.tsv")) {
      Path file = folder.resolve(name);
      Files.createDirectories(file.getParent());
      Files.writeString(file, "x");
    }
  }

  private List<String> names(String... paths) {
    return DataFiles.resolve(List.of(paths)).stream()
        .map(file -> folder.relativize(file).toString())
        .toList();
  }

  @Test
  void sortsFoldersAndGlobsAndKeepsAListInItsOrder() {
    assertEquals(List.of("a.jsonl", "b.jsonl", "c.txt", "sub/d.tsv"), names(folder.toString()));
    assertEquals(List.of(".hidden.jsonl", "a.jsonl", "b.jsonl"), names(folder + "/*.jsonl"));
    assertEquals(List.of("b.jsonl", "c.txt"), names(folder + "/{b,c}.*"));
    assertEquals(List.of("sub/d.tsv"), names(folder + "/**/*.tsv"));
    assertEquals(List.of("b.jsonl", "a.jsonl"), names(folder + "/b.jsonl", folder + "/a.jsonl"));
    assertEquals(List.of("README.md"), names(folder + "/README.md"));
  }

  @Test
  void followsLinksAndKeepsRelativePathsRelative() throws IOException {
    Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("sub"));
    assertEquals(List.of("link/d.tsv"), names(link.toString()));
    String tiny = "src/test/resources/tokenizers";
    assertEquals(
        List.of(Path.of(tiny, "golden.json")), DataFiles.resolve(List.of(tiny + "/*.json")));
    assertEquals(
        List.of(Path.of("./" + tiny, "golden.json")),
        DataFiles.resolve(List.of("./" + tiny + "/g*.json")));
  }

  @Test
  void refusesWhatNamesNothing() throws IOException {
    String missing = folder + "/none.jsonl";
    assertEquals(missing + ": no such file or folder", refusal(missing));
    assertEquals(folder + "/*.csv: matches no file", refusal(folder + "/*.csv"));
    assertEquals(folder + "/none/*.csv: matches no file", refusal(folder + "/none/*.csv"));
    Path empty = Files.createDirectory(folder.resolve("empty"));
    assertTrue(refusal(empty.toString()).startsWith(empty + ": no data file in it"));
    assertThrows(UserError.class, () -> DataFiles.resolve(List.of()));
    String open = refusal(folder + "/[a.jsonl");
    assertTrue(open.startsWith("data path: '" + folder + "/[a.jsonl' is not a valid glob: "), open);
    assertEquals(1, open.lines().count(), open);
  }

  @Test
  void tellsTheEnding() {
    assertEquals("jsonl", DataFiles.ending(Path.of("x/a.JSONL")));
    assertEquals("jsonl", DataFiles.ending(Path.of("a.jsonl.gz")));
    assertEquals("", DataFiles.ending(Path.of("a")));
  }

  private String refusal(String path) {
    return assertThrows(UserError.class, () -> DataFiles.resolve(List.of(path))).getMessage();
  }
}
