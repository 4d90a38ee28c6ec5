package dev.caravan.eval.metric;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Metrics agree with other programs on the files of golden-eval, whose make.py says which. */
class GoldenMetricsTest {
  private static JsonNode read(String name) throws IOException {
    try (InputStream in = GoldenMetricsTest.class.getResourceAsStream("/golden-eval/" + name)) {
      JsonNode list = new ObjectMapper().readTree(in);
      assertTrue(list.size() > 20, name);
      return list;
    }
  }

  @Test
  void stemsAreNltks() throws IOException {
    for (JsonNode pair : read("stems.json")) {
      String word = pair.get(0).asText();
      assertEquals(pair.get(1).asText(), PorterStemmer.stem(word), word);
    }
  }

  @Test
  void rougeLIsGoogles() throws IOException {
    for (JsonNode pair : read("rouge.json")) {
      String reference = pair.get("reference").asText();
      String prediction = pair.get("prediction").asText();
      String where = "'" + reference + "' and '" + prediction + "'";
      assertEquals(
          pair.get("plain").asDouble(), RougeL.score(reference, prediction, false), 1e-12, where);
      assertEquals(
          pair.get("stemmed").asDouble(), RougeL.score(reference, prediction, true), 1e-12, where);
    }
  }

  @Test
  void shortAnswersMatchAsInSquadAndTriviaQa() throws IOException {
    for (JsonNode pair : read("answers.json")) {
      List<String> reference = List.of(pair.get("reference").asText());
      String prediction = pair.get("prediction").asText();
      String where = reference + " and '" + prediction + "'";
      assertEquals(
          pair.get("squad").asBoolean(), SquadMatch.exact(reference, prediction) == 1, where);
      assertEquals(pair.get("f1").asDouble(), SquadMatch.f1(reference, prediction), 1e-12, where);
      assertEquals(
          pair.get("trivia").asBoolean(), TriviaMatch.exact(reference, prediction) == 1, where);
    }
  }

  @Test
  void theBestReferenceCounts() {
    List<String> references = List.of("nothing alike", "the red ball", "a ball");
    assertEquals(1, SquadMatch.exact(references, "Ball!"));
    assertEquals(1, SquadMatch.f1(references, "red ball"));
    assertEquals(1, RougeL.best(references, "the red balls", true));
    assertEquals(2 / 3.0, RougeL.best(references, "the red balls", false), 1e-12);
  }
}
