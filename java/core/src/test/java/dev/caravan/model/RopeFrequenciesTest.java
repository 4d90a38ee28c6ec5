package dev.caravan.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** Against values that Hugging Face transformers made (make.py beside rope.json). */
class RopeFrequenciesTest {

  @TestFactory
  List<DynamicTest> equalsTransformers() throws IOException {
    JsonNode golden;
    try (InputStream in = RopeFrequenciesTest.class.getResourceAsStream("rope.json")) {
      golden = new ObjectMapper().readTree(in);
    }
    List<DynamicTest> tests = new ArrayList<>();
    for (JsonNode c : golden.get("cases")) {
      tests.add(DynamicTest.dynamicTest(c.get("name").asText(), () -> check(c)));
    }
    assertTrue(tests.size() >= 13);
    return tests;
  }

  private static void check(JsonNode c) {
    LlamaConfig config = HfConfig.of(c.get("config"), "golden").llama();
    RopeFrequencies rope = RopeFrequencies.of(config, c.get("sequence").asInt());
    JsonNode expected = c.get("inverse");
    assertEquals(expected.size(), rope.inverse().length);
    for (int i = 0; i < expected.size(); i++) {
      float want = (float) expected.get(i).asDouble();
      // Two roundings: torch's vectorised power is good to one unit in the last place, and yarn and
      // llama3 add two such terms.
      assertEquals(want, rope.inverse()[i], 2 * Math.ulp(want), "frequency " + i);
    }
    assertEquals((float) c.get("attention_factor").asDouble(), rope.attentionFactor());
  }
}
