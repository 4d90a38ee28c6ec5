package dev.caravan.eval.suite;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.ModelSource;
import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Options are as likely as transformers finds them, on either of the two ways. */
class RankerTest {
  private static final double NATS = 1e-4;

  private static Stream stream;
  private static Ranker ranker;
  private static List<Ranker.Options> questions = new ArrayList<>();
  private static List<double[]> expected = new ArrayList<>();

  @BeforeAll
  static void open() throws IOException, URISyntaxException {
    Blas.install();
    stream = Stream.open(Device.CPU, 2);
    ModelSource model =
        ModelSource.folder(Path.of(RankerTest.class.getResource("/golden/llama2-gqa").toURI()));
    ranker = new Ranker(model, new ByteTokenizer(), DType.F32, stream);
    try (InputStream in = RankerTest.class.getResourceAsStream("/golden-eval/options.json")) {
      for (JsonNode question : new ObjectMapper().readTree(in)) {
        int[] context = ints(question.get("context"));
        int count = question.get("options").size();
        int[][] contexts = new int[count][];
        int[][] options = new int[count][];
        for (int i = 0; i < count; i++) {
          contexts[i] = context;
          options[i] = ints(question.get("options").get(i));
        }
        questions.add(new Ranker.Options(contexts, options));
        expected.add(
            StreamSupport.stream(question.get("logprobs").spliterator(), false)
                .mapToDouble(JsonNode::asDouble)
                .toArray());
      }
    }
  }

  @AfterAll
  static void close() {
    stream.close();
  }

  private static int[] ints(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
  }

  @Test
  void packedRowsAreAsLikelyAsInTransformers() {
    compare(expected, ranker.packed(questions, done -> {}));
  }

  @Test
  void lastTokensAreAsLikelyAsInTransformers() {
    List<Ranker.Options> letters = new ArrayList<>();
    List<double[]> theirs = new ArrayList<>();
    for (int i = 0; i < questions.size(); i++) {
      if (questions.get(i).differInLastToken()) {
        letters.add(questions.get(i));
        theirs.add(expected.get(i));
      }
    }
    assertEquals(3, letters.size());
    compare(theirs, ranker.nextTokens(letters, done -> {}));
    compare(theirs, ranker.score(letters, done -> {}));
  }

  /** What is kept of the prompt before it does not show in a prompt's bits. */
  @Test
  void theOrderOfQuestionsDoesNotMatter() {
    Ranker.Options longer = questions.get(0);
    Ranker.Options shared = questions.get(4);
    assertTrue(longer.differInLastToken() && shared.differInLastToken());
    List<double[]> there = ranker.nextTokens(List.of(longer, shared), done -> {});
    List<double[]> back = ranker.nextTokens(List.of(shared, longer), done -> {});
    assertArrayEquals(there.get(0), back.get(1));
    assertArrayEquals(there.get(1), back.get(0));
  }

  private static void compare(List<double[]> expected, List<double[]> given) {
    assertEquals(expected.size(), given.size());
    for (int i = 0; i < expected.size(); i++) {
      assertArrayEquals(expected.get(i), given.get(i), NATS, "question " + i);
    }
  }
}
