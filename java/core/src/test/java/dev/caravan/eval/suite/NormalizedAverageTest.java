package dev.caravan.eval.suite;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NormalizedAverageTest {
  @TempDir Path dir;

  private Path report(String suite, Object... metricsValuesChances) throws IOException {
    List<String> results = new ArrayList<>();
    for (int i = 0; i < metricsValuesChances.length; i += 3) {
      results.add(
          "{\"metric\": \"%s\", \"value\": %s, \"chance\": %s}"
              .formatted(
                  metricsValuesChances[i],
                  metricsValuesChances[i + 1],
                  metricsValuesChances[i + 2]));
    }
    Path file = dir.resolve(suite + ".json");
    Files.writeString(
        file,
        "{\"suite\": \"%s\", \"results\": [%s]}".formatted(suite, String.join(", ", results)));
    return file;
  }

  /**
   * Chung et al. 2022, table 5 (direct and reasoning on MMLU and BBH, TyDiQA, MGSM). What guessing
   * scores on BBH is not said there; 26 is within what its figures allow, so they agree to 0.5.
   */
  @ParameterizedTest
  @CsvSource({
    "19.1, 52.4, 45.5, 41.0, 35.2, 16.6, 1.9",
    "23.7, 55.1, 48.6, 45.3, 41.4, 19.0, 4.9",
    "21.9, 49.3, 41.3, 36.4, 31.1, 47.5, 8.2",
    "38.8, 59.6, 56.9, 47.5, 44.9, 58.7, 28.5",
    "58.4, 73.5, 70.9, 57.9, 66.3, 67.8, 57.0"
  })
  void thePapersAverageComesOut(
      double average, double mmlu, double cot, double bbh, double bbhCot, double tydi, double mgsm)
      throws IOException {
    NormalizedAverage mean =
        NormalizedAverage.of(
            List.of(
                report("mmlu", "mmlu_validation_accuracy", mmlu, 25),
                report("cot", "mmlu_cot_validation_exact_match", cot, 25),
                report("bbh", "bbh_direct_exact_match", bbh, 26, "bbh_cot_exact_match", bbhCot, 26),
                report("tydiqa", "tydiqa_goldp_exact_match", tydi, 0, "tydiqa_goldp_f1", 99, 0),
                report("mgsm", "mgsm_exact_match", mgsm, 0, "mgsm_exact_match/de", 99, 0)));
    assertEquals(average, mean.value(), 0.5);
    assertTrue(mean.isFlan());
    assertEquals(6, mean.parts().size());
    assertEquals("flan_normalized_average", mean.json().get("metric").asText());
  }

  @Test
  void worseThanChanceIsNegativeAndWhatIsMissingIsSaid() throws IOException {
    NormalizedAverage mean =
        NormalizedAverage.of(
            List.of(
                report("mmlu", "mmlu_test_accuracy", 10, 25),
                report("arc", "arc_easy_accuracy", 40, 20, "arc_easy_accuracy_plain", 30, 20)));
    assertEquals((-20 + 25) / 2.0, mean.value(), 1e-12);
    assertFalse(mean.isFlan());
    assertEquals(
        List.of("MMLU with reasoning", "BBH direct", "BBH with reasoning", "TyDiQA", "MGSM"),
        mean.missing());
    assertEquals("normalized_average", mean.json().get("metric").asText());
  }

  @Test
  void whatWasAskedOtherwiseIsSaid() throws IOException {
    Path file = dir.resolve("mgsm.json");
    Files.writeString(
        file,
        "{\"suite\": \"mgsm\", \"results\": [{\"metric\": \"mgsm_test_exact_match\", \"value\": 5,"
            + " \"chance\": 0, \"shots\": 0, \"skipped\": 2, \"fewer_shots\": 3}]}");
    Path tydi = dir.resolve("tydi.json");
    Files.writeString(
        tydi,
        "{\"suite\": \"tydiqa\", \"results\": [{\"metric\": \"tydiqa_goldp_exact_match\", \"value\": 5,"
            + " \"chance\": 0, \"shots\": 1, \"skipped\": 0, \"fewer_shots\": 0}]}");
    NormalizedAverage mean =
        NormalizedAverage.of(
            List.of(
                file,
                tydi,
                report("mmlu", "mmlu_test_accuracy", 50, 25),
                report("cot", "mmlu_cot_test_exact_match", 50, 25),
                report("bbh", "bbh_direct_exact_match", 50, 26, "bbh_cot_exact_match", 50, 26)));
    assertEquals(List.of(), mean.missing());
    assertFalse(mean.isFlan());
    assertEquals(
        List.of(
            "mgsm_test_exact_match: 0 shots in place of 8",
            "mgsm_test_exact_match: 3 questions with fewer shots",
            "mgsm_test_exact_match: 2 questions left out"),
        mean.deviations());
    assertEquals("normalized_average", mean.json().get("metric").asText());
    assertEquals(3, mean.json().get("other_than_flan").size());
  }

  @Test
  void whatIsNoReportIsNamed() throws IOException {
    Path good = report("mmlu", "mmlu_test_accuracy", 10, 25);
    Path again = report("again", "mmlu_test_accuracy", 10, 25);
    refused("again.json: mmlu_test_accuracy: another report has it too", good, again);
    refused("nothing.json: cannot be read", dir.resolve("nothing.json"));
    refused("empty.json: no results", report("empty"));
  }

  private static void refused(String part, Path... reports) {
    UserError e = assertThrows(UserError.class, () -> NormalizedAverage.of(List.of(reports)));
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  @Test
  void guessingAmongOptionsIsTheirNumber() {
    assertEquals(1.0 / 3, BigBenchHard.chance("Which?\nOptions:\n(A) a\n(B) b\n(C) c", 3));
    assertEquals(0.5, BigBenchHard.chance("Is it so?\nOptions:\n- Yes\n- No", 2));
    assertEquals(0.5, BigBenchHard.chance("not ( True ) and ( True ) is", 2));
    assertEquals(0, BigBenchHard.chance("Sort the words", 200));
  }
}
