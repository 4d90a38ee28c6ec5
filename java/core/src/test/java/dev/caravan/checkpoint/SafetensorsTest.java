package dev.caravan.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
  @TempDir Path dir;
  private Path file;

  @BeforeEach
  void setUp() {
    file = dir.resolve("model.safetensors");
  }

  /** Writes a file by hand: length, header, data; nothing of it from the writer under test. */
  private void write(String header, ByteBuffer data) throws IOException {
    byte[] json = header.replace('\'', '"').getBytes(StandardCharsets.UTF_8);
    ByteBuffer all =
        ByteBuffer.allocate(8 + json.length + data.remaining()).order(ByteOrder.LITTLE_ENDIAN);
    all.putLong(json.length).put(json).put(data);
    Files.write(file, all.array());
  }

  private static ByteBuffer data(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private String openError() {
    return assertThrows(UserError.class, () -> Safetensors.open(file).close()).getMessage();
  }

  @Test
  void everyFloatTypeIsWidenedExactly() throws IOException {
    ByteBuffer data = data(3 * 4 + 3 * 8 + 6 * 2 + 3 * 2);
    data.putFloat(1.5f).putFloat(-0f).putFloat(Float.MIN_VALUE);
    data.putDouble(0.1).putDouble(-3).putDouble(1e-50);
    // float16: 1, -2, smallest subnormal, largest, smallest normal, -0
    for (int half : new int[] {0x3c00, 0xc000, 0x0001, 0x7bff, 0x0400, 0x8000}) {
      data.putShort((short) half);
    }
    // bfloat16: 1, -3, largest
    for (int half : new int[] {0x3f80, 0xc040, 0x7f7f}) {
      data.putShort((short) half);
    }
    write(
        "{'__metadata__': {'format': 'pt'},"
            + " 'f32': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 12]},"
            + " 'f64': {'dtype': 'F64', 'shape': [3, 1], 'data_offsets': [12, 36]},"
            + " 'f16': {'dtype': 'F16', 'shape': [2, 3], 'data_offsets': [36, 48]},"
            + " 'bf16': {'dtype': 'BF16', 'shape': [3], 'data_offsets': [48, 54]}}",
        data.flip());
    try (Safetensors s = Safetensors.open(file)) {
      assertEquals(List.of("f32", "f64", "f16", "bf16"), List.copyOf(s.tensors().keySet()));
      assertEquals(List.of(2L, 3L), s.shapes().get("f16"));
      assertEquals("pt", s.metadata().get("format"));
      assertArrayEquals(new float[] {1.5f, -0f, Float.MIN_VALUE}, s.readFloats("f32"));
      assertArrayEquals(new float[] {0.1f, -3, 0}, s.readFloats("f64"));
      assertArrayEquals(new float[] {1, -2, 0x1p-24f, 65504, 0x1p-14f, -0f}, s.readFloats("f16"));
      assertArrayEquals(new float[] {1, -3, 0x1.fep127f}, s.readFloats("bf16"));
    }
  }

  @Test
  void everyFloat16IsWidenedAsTheDefinitionSays() {
    for (int half = 0; half < 1 << 16; half++) {
      int exponent = (half >> 10) & 31;
      int fraction = half & 1023;
      double magnitude =
          exponent == 0
              ? fraction * 0x1p-24
              : exponent == 31
                  ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
                  : Math.scalb(1 + fraction / 1024.0, exponent - 15);
      float expected = (float) (half >> 15 == 0 ? magnitude : -magnitude);
      assertEquals(expected, Float.intBitsToFloat(Halves.fromFloat16((short) half)));
    }
  }

  @Test
  void bfloat16RoundsToNearestEven() {
    Random random = new Random(3);
    for (int i = 0; i < 100_000; i++) {
      float value = Float.intBitsToFloat(random.nextInt());
      if (!Float.isFinite(value) || Math.abs(value) > 3e38) {
        continue;
      }
      int down = Float.floatToRawIntBits(value) & 0xffff0000;
      double low = Float.intBitsToFloat(down);
      double high = Float.intBitsToFloat(down + 0x10000);
      boolean even = (down >>> 16 & 1) == 0;
      double toLow = Math.abs(value - low);
      double toHigh = Math.abs(high - value);
      boolean takeLow = toLow < toHigh || (toLow == toHigh && even);
      float got = Float.intBitsToFloat(Halves.toBfloat16(Float.floatToRawIntBits(value)) << 16);
      assertEquals((float) (takeLow ? low : high), got);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "F32, F32",
    "F32, BF16",
    "BF16, BF16",
    "BF16, F32",
    "F16, F16",
    "F16, F32",
    "F64, F64"
  })
  void nativeMemoryGetsTheConvertedValues(StoredType stored, StoredType wanted) {
    // More than one piece of the reader, and a last piece that is not full.
    int count = (1 << 17) + 5;
    try (Native memory = new Native()) {
      Random random = new Random(11);
      NamedTensor source = memory.tensor("x", stored, (long) count);
      ByteBuffer bytes = Native.bytes(source);
      for (int i = 0; i < count; i++) {
        switch (stored) {
          case F32 -> bytes.putFloat((float) random.nextGaussian());
          case F64 -> bytes.putDouble(random.nextGaussian());
          default -> bytes.putShort((short) (random.nextInt(0x7000) | random.nextInt(2) << 15));
        }
      }
      SafetensorsWriter.replace(file, List.of(source));
      NamedTensor target = memory.tensor("x", wanted, (long) count);
      try (Safetensors s = Safetensors.open(file)) {
        s.read(target);
        if (stored == wanted) {
          assertEquals(Native.bytes(source), Native.bytes(target));
          return;
        }
        float[] floats = s.readFloats("x");
        for (int i = 0; i < count; i++) {
          if (wanted == StoredType.F32) {
            assertEquals(floats[i], Native.bytes(target).getFloat(i * 4));
          } else {
            short half = Halves.toBfloat16(Float.floatToRawIntBits(floats[i]));
            assertEquals(half, Native.bytes(target).getShort(i * 2));
          }
        }
      }
    }
  }

  @Test
  void integersAreReadAsTheyAreAndNotConverted() {
    try (Native memory = new Native()) {
      NamedTensor source = memory.tensor("n", StoredType.U16, 3L);
      SafetensorsWriter.replace(file, List.of(source));
      NamedTensor same = memory.tensor("n", StoredType.U16, 3L);
      NamedTensor other = memory.tensor("n", StoredType.F32, 3L);
      try (Safetensors s = Safetensors.open(file)) {
        s.read(same);
        assertEquals(Native.bytes(source), Native.bytes(same));
        String message = assertThrows(UserError.class, () -> s.read(other)).getMessage();
        assertTrue(message.contains("tensor n: got U16"), message);
      }
    }
  }

  @Test
  void missingAndWronglyShapedTensorsAreNamed() throws IOException {
    write("{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}", data(8));
    try (Safetensors s = Safetensors.open(file);
        Native memory = new Native()) {
      assertEquals(
          file + ": tensor b is missing",
          assertThrows(UserError.class, () -> s.readFloats("b")).getMessage());
      NamedTensor target = memory.tensor("a", StoredType.F32, 1L, 2L);
      assertEquals(
          file + ": tensor a: got shape [2], needs [1, 2]",
          assertThrows(UserError.class, () -> s.read(target)).getMessage());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "F32, 7fc00000, NaN",
    "F32, ff800000, -Infinity",
    "BF16, 7fc0, NaN",
    "F16, 7c00, Infinity"
  })
  void nonFiniteWeightsAreNamedWithTheirPlace(StoredType type, String bits, String shown) {
    try (Native memory = new Native()) {
      NamedTensor source = memory.tensor("w", type, 300L, 301L);
      ByteBuffer bytes = Native.bytes(source);
      while (bytes.hasRemaining()) {
        bytes.put((byte) 0);
      }
      int element = 299 * 301 + 17;
      if (type == StoredType.F32) {
        bytes.putInt(element * 4, Integer.parseUnsignedInt(bits, 16));
      } else {
        bytes.putShort(element * 2, (short) Integer.parseInt(bits, 16));
      }
      SafetensorsWriter.replace(file, List.of(source));
      try (Safetensors s = Safetensors.open(file)) {
        String message =
            file + ": tensor w: element [299, 17] is " + shown + ", weights must be finite";
        assertEquals(message, assertThrows(UserError.class, () -> s.readFloats("w")).getMessage());
        assertEquals(message, assertThrows(UserError.class, s::verify).getMessage());
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 4]}}|got 4 bytes, F32 [2] needs"
            + " 8",
        "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [8, 0]}}|got -8 bytes",
        "{'a': {'dtype': 'F32', 'shape': [3], 'data_offsets': [0, 12]}}|truncated: its last byte"
            + " is",
        "{'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}}|damaged",
        "{'a': {'dtype': 'F32', 'shape': [1], 'data_offsets': [4, 8]}}|overlap or leave a gap",
        "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}, 'b': {'dtype': 'F32',"
            + " 'shape': [1], 'data_offsets': [4, 8]}}|tensor b: got byte offset 4, needs 8",
        "{'a': {'dtype': 'I7', 'shape': [2], 'data_offsets': [0, 8]}}|got dtype \"I7\"",
        "{'a': {'dtype': 'F32', 'shape': [-2], 'data_offsets': [0, 8]}}|needs shape and"
            + " data_offsets",
        "{'a': {'dtype': 'F32', 'shape': [2.5], 'data_offsets': [0, 8]}}|needs shape and"
            + " data_offsets",
        "{'a': {'dtype': 'F32', 'shape': [4611686018427387904, 4], 'data_offsets': [0, 8]}}|more"
            + " than a file",
        "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 99999999999999999999]}}|needs"
            + " shape",
        "{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}, 'a': {}}|not JSON",
        "{'a': 3}|got dtype",
        "[1, 2]|no JSON object",
        "{'a|not JSON",
      })
  void damagedHeadersAreRefusedBeforeUse(String header, String part) throws IOException {
    write(header, data(8));
    String message = openError();
    assertTrue(message.startsWith(file + ": "), message);
    assertTrue(message.contains(part), message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void everyTruncationIsRefused() throws IOException {
    write("{'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}", data(8));
    byte[] whole = Files.readAllBytes(file);
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertTrue(openError().startsWith(file + ": "));
    }
    Files.write(file, ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN).putLong(-1).array());
    assertTrue(openError().contains("not a safetensors file"));
  }

  @Test
  void shardsAreReadThroughTheirIndex() throws IOException {
    try (Native memory = new Native()) {
      Random random = new Random(2);
      NamedTensor a = memory.random("a", random, 3L);
      NamedTensor b = memory.random("b", random, 2L, 2L);
      SafetensorsWriter.replace(dir.resolve("one.safetensors"), List.of(a));
      SafetensorsWriter.replace(dir.resolve("two.safetensors"), List.of(b));
      Path index = dir.resolve("model.safetensors.index.json");
      String good = "{'weight_map': {'a': 'one.safetensors', 'b': 'two.safetensors'}}";
      Files.writeString(index, good.replace('\'', '"'));
      try (Safetensors s = Safetensors.open(dir)) {
        assertEquals(2, s.tensors().size());
        NamedTensor back = memory.tensor("b", StoredType.F32, 2L, 2L);
        s.read(back);
        assertEquals(Native.bytes(b), Native.bytes(back));
      }

      Files.writeString(index, good.replace('\'', '"').replace("one", "two"));
      assertTrue(folderError().contains("tensor a is missing; model.safetensors.index.json says"));
      Files.writeString(index, good.replace('\'', '"').replace("one", "../one"));
      assertTrue(folderError().contains("needs a file beside it"));
      Files.writeString(index, good.replace('\'', '"'));
      Files.delete(dir.resolve("two.safetensors"));
      assertTrue(folderError().contains("two.safetensors: missing"));
      Files.delete(index);
      assertEquals(
          dir + ": holds neither model.safetensors nor model.safetensors.index.json",
          folderError());
    }
  }

  private String folderError() {
    return assertThrows(UserError.class, () -> Safetensors.open(dir).close()).getMessage();
  }

  @Test
  void aMissingFileIsNamed() {
    assertEquals(file + ": no such file", openError());
  }
}
