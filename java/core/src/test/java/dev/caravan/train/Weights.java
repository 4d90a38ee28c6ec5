package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** The weights of checkpoints, read without the code that wrote them. */
final class Weights {
  private Weights() {}

  /** Float32 tensors of a checkpoint's only file of weights, by name. */
  static Map<String, float[]> read(Path checkpoint) {
    try {
      ByteBuffer file =
          ByteBuffer.wrap(Files.readAllBytes(checkpoint.resolve("model.safetensors")))
              .order(ByteOrder.LITTLE_ENDIAN);
      int header = Math.toIntExact(file.getLong(0));
      JsonNode json =
          new ObjectMapper()
              .readTree(new String(file.array(), 8, header, StandardCharsets.UTF_8));
      Map<String, float[]> tensors = new TreeMap<>();
      for (Map.Entry<String, JsonNode> entry : json.properties()) {
        if (entry.getKey().startsWith("__")) {
          continue;
        }
        int first = entry.getValue().get("data_offsets").get(0).asInt();
        int end = entry.getValue().get("data_offsets").get(1).asInt();
        float[] values = new float[(end - first) / Float.BYTES];
        file.position(8 + header + first);
        file.slice().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        tensors.put(entry.getKey(), values);
      }
      return tensors;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Every tensor differs by no more than {@code relative} of its root mean square. */
  static void assertClose(Path expected, Path actual, double relative) {
    Map<String, float[]> one = read(expected);
    Map<String, float[]> other = read(actual);
    assertEquals(one.keySet(), other.keySet());
    one.forEach(
        (name, values) -> {
          double far = OneStep.difference(values, other.get(name)) / OneStep.size(values);
          assertTrue(far <= relative, name + " is " + far + " apart");
        });
  }
}
