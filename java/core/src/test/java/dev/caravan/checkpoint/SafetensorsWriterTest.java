package dev.caravan.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
  @TempDir Path dir;

  @Test
  void theHeaderIsAlignedAndReadableByHand() throws IOException {
    try (Native memory = new Native()) {
      NamedTensor half = memory.tensor("half", StoredType.BF16, 1L);
      NamedTensor full = memory.tensor("full", StoredType.F32, 2L, 1L);
      NamedTensor none = memory.tensor("none", StoredType.F32, 0L);
      Path file = dir.resolve("x.safetensors");
      SafetensorsWriter.replace(file, List.of(half, full, none));
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      int length = (int) bytes.getLong();
      assertEquals(0, (8 + length) % 64);
      assertEquals(8 + length + 2 + 8, bytes.capacity());
      JsonNode header = new ObjectMapper().readTree(new String(bytes.array(), 8, length));
      assertEquals("pt", header.at("/__metadata__/format").asText());
      assertEquals("[0,8]", header.at("/full/data_offsets").toString());
      assertEquals("[2,1]", header.at("/full/shape").toString());
      assertEquals("F32", header.at("/full/dtype").asText());
      assertEquals("[8,10]", header.at("/half/data_offsets").toString());
      assertEquals(0xcdcdcdcd, bytes.getInt(8 + length));
    }
  }

  @Test
  void weightsAboveTheLimitAreSharded() throws IOException {
    try (Native memory = new Native()) {
      Random random = new Random(5);
      List<NamedTensor> tensors =
          List.of(
              memory.random("a", random, 10L),
              memory.random("b", random, 10L),
              memory.random("c", random, 100L),
              memory.random("d", random, 1L));
      SafetensorsWriter.writeModel(dir, tensors, 80, DurableFiles.Opener.FILES);
      assertTrue(Files.exists(dir.resolve("model-00001-of-00003.safetensors")));
      JsonNode index =
          new ObjectMapper().readTree(dir.resolve("model.safetensors.index.json").toFile());
      assertEquals(484, index.at("/metadata/total_size").asInt());
      assertEquals("model-00001-of-00003.safetensors", index.get("weight_map").get("b").asText());
      assertEquals("model-00003-of-00003.safetensors", index.get("weight_map").get("d").asText());
      try (Safetensors s = Safetensors.open(dir)) {
        for (NamedTensor tensor : tensors) {
          NamedTensor back =
              memory.tensor(tensor.name(), StoredType.F32, tensor.shape().toArray(Long[]::new));
          s.read(back);
          assertEquals(Native.bytes(tensor), Native.bytes(back));
        }
      }
    }
  }

  @Test
  void twoTensorsOfOneNameAreAProgrammingError() {
    try (Native memory = new Native()) {
      NamedTensor a = memory.tensor("a", StoredType.U8, 1L);
      assertThrows(
          IllegalArgumentException.class,
          () -> SafetensorsWriter.replace(dir.resolve("x"), List.of(a, a)));
      assertThrows(
          IllegalArgumentException.class,
          () -> new NamedTensor("a", a.address(), 2, StoredType.U8, List.of(1L)));
      assertThrows(
          IllegalArgumentException.class,
          () -> new NamedTensor("a", 0, 1, StoredType.U8, List.of(1L)));
    }
  }
}
