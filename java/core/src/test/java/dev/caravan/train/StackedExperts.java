package dev.caravan.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A Mixtral folder whose file holds the matrices of all experts of a layer in two tensors. */
final class StackedExperts {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String FILE = "model.safetensors";

  /** An expert's w1 and w3, gate and up, make the first tensor of a layer, w2 the second. */
  private static final Pattern EXPERT =
      Pattern.compile("(.*\\.experts)\\.(\\d+)\\.w([123])\\.weight");

  private StackedExperts() {}

  /** Writes one from a folder with a tensor for each matrix, without the code that reads it. */
  static void write(Path from, Path to) throws IOException {
    ByteBuffer file =
        ByteBuffer.wrap(Files.readAllBytes(from.resolve(FILE))).order(ByteOrder.LITTLE_ENDIAN);
    int header = Math.toIntExact(file.getLong(0));
    JsonNode known =
        JSON.readTree(new String(file.array(), Long.BYTES, header, StandardCharsets.UTF_8));
    Map<String, TreeMap<String, String>> parts = new TreeMap<>(); // of each tensor, in its order
    for (String name : (Iterable<String>) known::fieldNames) {
      Matcher expert = EXPERT.matcher(name);
      if (expert.matches()) {
        String which = expert.group(3);
        String stack = expert.group(1) + (which.equals("2") ? ".down_proj" : ".gate_up_proj");
        String order = "%03d.%s".formatted(Integer.parseInt(expert.group(2)), which);
        parts.computeIfAbsent(stack, s -> new TreeMap<>()).put(order, name);
      } else if (!name.startsWith("__")) {
        parts.computeIfAbsent(name, s -> new TreeMap<>()).put("", name);
      }
    }
    ObjectNode told = JSON.createObjectNode();
    ByteArrayOutputStream data = new ByteArrayOutputStream();
    parts.forEach(
        (name, pieces) -> {
          int first = data.size();
          pieces
              .values()
              .forEach(
                  piece -> {
                    JsonNode offsets = known.get(piece).get("data_offsets");
                    int begin = offsets.get(0).asInt();
                    data.write(
                        file.array(), Long.BYTES + header + begin, offsets.get(1).asInt() - begin);
                  });
          JsonNode one = known.get(pieces.firstEntry().getValue());
          ObjectNode tensor = told.putObject(name).put("dtype", one.get("dtype").asText());
          if (pieces.size() == 1) {
            tensor.set("shape", one.get("shape"));
          } else {
            int each = name.endsWith(".gate_up_proj") ? 2 : 1;
            tensor
                .putArray("shape")
                .add(pieces.size() / each)
                .add(each * one.get("shape").get(0).asInt())
                .add(one.get("shape").get(1).asInt());
          }
          tensor.putArray("data_offsets").add(first).add(data.size());
        });
    byte[] words = JSON.writeValueAsBytes(told);
    ByteBuffer stacked =
        ByteBuffer.allocate(Long.BYTES + words.length + data.size())
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(words.length)
            .put(words)
            .put(data.toByteArray());
    Files.createDirectories(to);
    Files.write(to.resolve(FILE), stacked.array());
    Files.copy(from.resolve("config.json"), to.resolve("config.json"));
  }
}
