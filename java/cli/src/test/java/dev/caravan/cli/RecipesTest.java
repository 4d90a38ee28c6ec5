package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.UserError;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunConfigWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RecipesTest {
  @TempDir Path dir;

  @Test
  void firstRunReadsAndItsDataIsThere() {
    RunConfig config = Recipes.read("first-run", List.of("train.steps=3"));
    assertEquals(3, config.train().steps().orElseThrow());
    assertTrue(Files.isRegularFile(Path.of(config.data().paths().get(0))));
    assertTrue(Files.isRegularFile(config.tokenizer().orElseThrow()));
    assertTrue(Files.isRegularFile(config.eval().data().orElseThrow()));
  }

  @Test
  void theTemplateNeedsOnlyModelAndData() {
    List<String> both = List.of("model.path=/m", "data.path=/d");
    assertEquals(List.of("/d"), Recipes.read("llama", both).data().paths());
    assertThrows(UserError.class, () -> Recipes.read("llama", List.of("data.path=/d")));
  }

  @Test
  void theTemplateHasEveryKey() throws IOException {
    String told = Recipes.show("llama");
    RunConfig config =
        Recipes.read(
            "llama",
            List.of(
                "model.path=/m",
                "data.path=/d",
                "optimizer.name=adafactor",
                "experts.second_expert=threshold"));
    JsonNode keys = new YAMLMapper().readTree(RunConfigWriter.toYaml(config));
    for (var key : keys.properties()) {
      assertTrue(told.contains(key.getKey() + ":"), key.getKey());
      for (var inner : key.getValue().properties()) {
        assertTrue(told.contains(inner.getKey() + ":"), key.getKey() + "." + inner.getKey());
      }
    }
  }

  @Test
  void everyRecipeIsListedWithWhatItIs() {
    Captured run = Captured.run("recipes");
    assertEquals(0, run.code());
    assertEquals(Recipes.list().size(), run.out().lines().count());
    Recipes.list().forEach((name, what) -> assertTrue(what.length() > 20, name));
    assertEquals(Recipes.show("llama"), Captured.run("recipes", "show", "llama").out());
  }

  @Test
  void aCopyStandsAlone() throws IOException {
    Path file = dir.resolve("mine.yaml");
    assertEquals(0, Captured.run("recipes", "copy", "first-run", file.toString()).code());
    assertFalse(Files.readString(file).contains("{recipe}"));
    RunConfig config = Recipes.read(file.toString(), List.of());
    assertEquals(dir.resolve("mine-data/rows.jsonl").toString(), config.data().paths().get(0));
    assertTrue(Files.isRegularFile(Path.of(config.data().paths().get(0))));
    Captured again = Captured.run("recipes", "copy", "first-run", file.toString());
    assertEquals(2, again.code());
    assertTrue(again.err().contains("exists already"));
  }
}
