package dev.caravan.cli.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is made, and what lies in the jar, which another JDK may have made a little differently. */
class QuickstartDataTest {
  private static final String RECIPES = "/dev/caravan/cli/recipes/";
  private static final int MOST_BYTES = 8 << 20;
  private static final int LEAST_HELD_OUT = 200;

  @TempDir Path dir;

  /** Which fact an instruction asks for, and whether tuning may use its words. */
  private record Asked(String family, String subject, boolean heldOutWords) {
    String fact() {
      return family + ": " + subject;
    }
  }

  @Test
  void theSameJdkMakesTheSameBytes() throws IOException {
    for (String folder : List.of("one", "two")) {
      QuickstartData.main(new String[] {dir.resolve(folder).toString()});
    }
    for (String name : List.of("corpus", "rows", "facts", "phrasings")) {
      String file = name + ".jsonl.gz";
      assertArrayEquals(
          Files.readAllBytes(dir.resolve("one").resolve(file)),
          Files.readAllBytes(dir.resolve("two").resolve(file)),
          file);
    }
    Path tokenizer = dir.resolve("one/tokenizer.json");
    assertEquals(-1, Files.mismatch(tokenizer, dir.resolve("two/tokenizer.json")));
    check(tokenizer);
  }

  /** Any text, also what the vocabulary was not made from, comes back as it was. */
  private static void check(Path file) {
    Random random = new Random(5);
    try (Tokenizer tokenizer = Tokenizers.open(file)) {
      assertEquals(QuickstartData.VOCABULARY, tokenizer.vocabSize());
      for (int i = 0; i < 200; i++) {
        StringBuilder text = new StringBuilder();
        for (int c = random.nextInt(30); c >= 0; c--) {
          text.appendCodePoint(
              random.nextBoolean() ? ' ' + random.nextInt(95) : 0xA1 + random.nextInt(0x3000));
        }
        assertEquals(text.toString(), tokenizer.decode(tokenizer.encode(text.toString())));
      }
      assertEquals(4, tokenizer.encode("The currency of Germany").length);
    }
  }

  @Test
  void theCorpusStatesEveryFactAndAsksNothing() throws IOException {
    StringBuilder all = new StringBuilder();
    for (JsonNode document : stored("quickstart-base/corpus")) {
      all.append(document.get("text").asText()).append(' ');
    }
    String corpus = all.toString();
    for (String word : List.of("?", "\n", "Question", "Answer", "nstruction", "Response", "Tell")) {
      assertFalse(corpus.contains(word), word);
    }
    for (String set : List.of("rows", "facts", "phrasings")) {
      for (JsonNode item : stored("quickstart/" + set)) {
        String prompt = item.get("prompt").asText();
        assertFalse(corpus.contains(prompt), prompt);
      }
    }
    for (JsonNode item : stored("quickstart/facts")) {
      Asked asked = parse(item.get("prompt").asText());
      Fact fact = new Fact(asked.subject, item.get("target").asText());
      Family family = family(asked.family);
      long shapes = family.statements().stream().filter(s -> corpus.contains(fact.in(s))).count();
      assertTrue(shapes >= family.statements().size() - 1, asked.fact() + " in " + shapes);
    }
  }

  @Test
  void whatIsHeldOutIsNeverTrainedOn() throws IOException {
    Set<String> tuned = new HashSet<>();
    for (JsonNode item : stored("quickstart/rows")) {
      Asked asked = parse(item.get("prompt").asText());
      assertFalse(asked.heldOutWords, item.toString());
      tuned.add(asked.fact());
    }
    List<JsonNode> facts = stored("quickstart/facts");
    Set<String> held = new HashSet<>();
    for (JsonNode item : facts) {
      Asked asked = parse(item.get("prompt").asText());
      assertFalse(asked.heldOutWords, item.toString());
      assertFalse(tuned.contains(asked.fact()), asked.fact());
      held.add(asked.fact());
    }
    assertEquals(facts.size(), held.size(), "each fact once");
    assertTrue(held.size() >= LEAST_HELD_OUT, held.size() + " facts");
    List<JsonNode> phrasings = stored("quickstart/phrasings");
    for (JsonNode item : phrasings) {
      Asked asked = parse(item.get("prompt").asText());
      assertTrue(asked.heldOutWords, item.toString());
      assertTrue(tuned.contains(asked.fact()), asked.fact());
    }
    assertTrue(phrasings.size() >= LEAST_HELD_OUT, phrasings.size() + " phrasings");
  }

  @Test
  void productsAreHeldOutInBothOrdersAndTheirStepsAreRight() {
    for (Fact fact : JdkFacts.products()) {
      String[] factors = fact.subject().split(" times ");
      int product = product(fact.subject());
      assertTrue(Integer.parseInt(factors[0]) <= Integer.parseInt(factors[1]), fact.subject());
      String[] steps = fact.answer().split(", ");
      assertEquals(3, steps.length, fact.answer());
      int sum = 0;
      for (String step : List.of(steps[0], steps[1])) {
        String[] sides = step.split(" is ");
        assertFalse(sides[0].equals(fact.subject()), "a step is no repetition: " + fact.answer());
        assertEquals(product(sides[0]), Integer.parseInt(sides[1]), step);
        sum += Integer.parseInt(sides[1]);
      }
      assertEquals(product, sum, fact.answer());
      String last =
          steps[0].split(" is ")[1] + " and " + steps[1].split(" is ")[1] + " is " + product;
      assertEquals(last, steps[2]);
    }
  }

  private static int product(String words) {
    String[] factors = words.split(" times ");
    return Integer.parseInt(factors[0]) * Integer.parseInt(factors[1]);
  }

  @Test
  void theBaseModelIsSmall() throws IOException {
    int bytes = 0;
    for (String file : List.of("config.json", "model.safetensors", "tokenizer.json")) {
      try (InputStream in = open("quickstart/" + file)) {
        bytes += in.readAllBytes().length;
      }
    }
    assertTrue(bytes <= MOST_BYTES, bytes + " bytes");
  }

  private static Family family(String name) {
    return Families.all().stream().filter(f -> f.name().equals(name)).findFirst().orElseThrow();
  }

  /** Finds the one pattern that a prompt was made from. */
  private static Asked parse(String prompt) {
    List<Asked> found = new ArrayList<>();
    for (Family family : Families.all()) {
      for (List<String> patterns : List.of(family.asked(), family.heldOut())) {
        for (String pattern : patterns) {
          String[] around = pattern.split("\\{x}");
          Matcher match =
              Pattern.compile(Pattern.quote(around[0]) + "(.+)" + Pattern.quote(around[1]))
                  .matcher(prompt);
          boolean isProduct = prompt.contains(" times ");
          if (match.matches() && isProduct == family.name().equals("product")) {
            found.add(new Asked(family.name(), match.group(1), patterns == family.heldOut()));
          }
        }
      }
    }
    // Shorter words may be the beginning of longer ones; the shortest subject is the right one.
    return found.stream()
        .min((a, b) -> a.subject.length() - b.subject.length())
        .orElseThrow(() -> new AssertionError(prompt));
  }

  private static List<JsonNode> stored(String name) throws IOException {
    List<JsonNode> lines = new ArrayList<>();
    try (BufferedReader in =
        new BufferedReader(
            new InputStreamReader(
                new GZIPInputStream(open(name + ".jsonl.gz")), StandardCharsets.UTF_8))) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        lines.add(new ObjectMapper().readTree(line));
      }
    }
    return lines;
  }

  private static InputStream open(String resource) {
    return QuickstartDataTest.class.getResourceAsStream(RECIPES + resource);
  }
}
