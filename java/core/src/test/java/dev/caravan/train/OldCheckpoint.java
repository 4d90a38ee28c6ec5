package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.model.LlamaWeights;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Checkpoints of two tensor-parallel ranks as they were before these had some of the vocabulary each: the
 * first rank wrote the moments of all of it.
 */
final class OldCheckpoint {
  private static final ObjectMapper JSON = new ObjectMapper();

  private static final TypeReference<List<Long>> LONGS = new TypeReference<>() {};

  private OldCheckpoint() {}

  /** A tensor of a file. */
  private record Stored(String dtype, List<Long> shape, byte[] bytes) {}

  /** Makes one of a new checkpoint, in its place. */
  static void makeOf(Path checkpoint) throws IOException {
    Path state = checkpoint.resolve("trainer/state.json");
    ObjectNode json = (ObjectNode) JSON.readTree(state.toFile());
    for (String kind : List.of("m", "v")) {
      Path[] files = new Path[2];
      for (int rank = 0; rank < 2; rank++) {
        files[rank] = checkpoint.resolve("trainer/" + kind + ".rank-" + rank + "-of-2.safetensors");
      }
      Map<String, Stored> first = read(files[0]);
      Map<String, Stored> second = read(files[1]);
      for (String name : List.of(LlamaWeights.EMBEDDING, LlamaWeights.OUTPUT)) {
        Stored one = first.remove(name + "@0");
        assertNotNull(one, name + " is no part");
        long half = one.shape().get(0);
        Stored other = second.remove(name + "@" + half);
        ByteBuffer both = ByteBuffer.allocate(2 * one.bytes().length);
        both.put(one.bytes()).put(other.bytes());
        first.put(name, new Stored(one.dtype(), List.of(2 * half), both.array()));
      }
      write(files[0], first);
      write(files[1], second);
      for (Path file : files) {
        ((ObjectNode) json.get("files"))
            .put("trainer/" + file.getFileName(), Files.size(file));
      }
    }
    JSON.writeValue(state.toFile(), json);
  }

  private static Map<String, Stored> read(Path file) throws IOException {
    ByteBuffer all = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    int header = Math.toIntExact(all.getLong(0));
    JsonNode json =
        JSON.readTree(new String(all.array(), Long.BYTES, header, StandardCharsets.UTF_8));
    Map<String, Stored> tensors = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> entry : json.properties()) {
      if (entry.getKey().startsWith("__")) {
        continue;
      }
      JsonNode range = entry.getValue().get("data_offsets");
      byte[] bytes = new byte[range.get(1).asInt() - range.get(0).asInt()];
      all.position(Long.BYTES + header + range.get(0).asInt()).get(bytes);
      List<Long> shape = JSON.convertValue(entry.getValue().get("shape"), LONGS);
      tensors.put(entry.getKey(), new Stored(entry.getValue().get("dtype").asText(), shape, bytes));
    }
    return tensors;
  }

  private static void write(Path file, Map<String, Stored> tensors) throws IOException {
    ObjectNode json = JSON.createObjectNode();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    tensors.forEach(
        (name, tensor) -> {
          ObjectNode entry = json.putObject(name).put("dtype", tensor.dtype());
          entry.set("shape", JSON.valueToTree(tensor.shape()));
          int first = data.size();
          data.writeBytes(tensor.bytes());
          entry.putArray("data_offsets").add(first).add(data.size());
        });
    byte[] header = JSON.writeValueAsBytes(json);
    ByteBuffer all =
        ByteBuffer.allocate(Long.BYTES + header.length + data.size())
            .order(ByteOrder.LITTLE_ENDIAN);
    Files.write(
        file, all.putLong(header.length).put(header).put(data.toByteArray()).array());
  }
}
