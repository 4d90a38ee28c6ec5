package dev.caravan.train.log;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Against a decoder of its own: TFRecord framing with a bitwise CRC-32C, then protocol buffers. */
class TensorBoardWriterTest {
  @TempDir Path dir;

  @Test
  void crcIsTheCastagnoliOne() {
    assertEquals(0xe3069283, crc("123456789".getBytes(StandardCharsets.US_ASCII)));
  }

  @Test
  void scalarsAreReadBack() throws IOException {
    double before = System.currentTimeMillis() / 1000.0;
    try (TensorBoardWriter out = new TensorBoardWriter(dir, 0)) {
      out.write(new StepMetrics(1, 2.5, 0.5, 1e-3, 7, 9, 1000, 2, 0.5, 0, 0));
      out.write(new StepMetrics(300, 1.25, 0.75, 2e-3, 7, 9, 2000, 1, 0, 0, 0));
      out.write(new EvalMetrics(300, 3.5, 7));
      out.write(300, Map.of("accuracy", Map.of("held", 62.5)));
    }
    List<Map<String, Object>> events = events();
    assertEquals("brain.Event:2", events.get(0).get("version"));
    assertEquals(1L, events.get(1).get("session"));
    assertEquals(1L, events.get(1).get("step"));
    assertEquals(
        Map.of(
            "train/loss",
            2.5f,
            "train/grad_norm",
            0.5f,
            "train/lr",
            1e-3f,
            "train/tokens_per_s",
            1000f,
            "train/data_wait_share",
            0.25f),
        events.get(2).get("scalars"));
    assertEquals(1L, events.get(2).get("step"));
    assertEquals(300L, events.get(3).get("step"));
    assertEquals(Map.of("eval/loss", 3.5f), events.get(4).get("scalars"));
    assertEquals(Map.of("eval/held/accuracy", 62.5f), events.get(5).get("scalars"));
    assertEquals(300L, events.get(5).get("step"));
    for (Map<String, Object> event : events) {
      assertTrue((double) event.get("time") >= Math.floor(before));
    }
    assertEquals(6, events.size());
  }

  @Test
  void aModelOfManySparseLayersHasAllItsCurves() throws IOException {
    int layers = 64;
    List<Long> choices = LongStream.range(0, 256).boxed().toList();
    ExpertMetrics.Layer layer = new ExpertMetrics.Layer(1, 2, 3, 4, 5, choices);
    ExpertMetrics experts =
        new ExpertMetrics(64, 128, 3, 4, 5, Collections.nCopies(layers, layer));
    try (TensorBoardWriter out = new TensorBoardWriter(dir, 0)) {
      out.write(new StepMetrics(1, 2.5, 0.5, 1e-3, 7, 9, 1000, 1, 0, 0, 0, Optional.of(experts)));
    }
    List<Map<String, Object>> events = events();
    assertEquals(3 + layers, events.size());
    assertEquals(1L, events.get(2 + layers).get("step"));
    assertEquals(
        Map.of(
            "experts/63/aux_loss",
            1f,
            "experts/63/z_loss",
            2f,
            "experts/63/load_max",
            3f,
            "experts/63/entropy",
            4f,
            "experts/63/drop_share",
            5f),
        events.get(2 + layers).get("scalars"));
    Map<?, ?> histograms = (Map<?, ?>) events.get(2 + layers).get("histograms");
    assertEquals(Set.of("experts/63/choices"), histograms.keySet());
    List<?> read = (List<?>) histograms.get("experts/63/choices");
    double sum = 255 * 256 * 511 / 6.0; // of squares
    double squares = Math.pow(255 * 256 / 2.0, 2); // of cubes
    assertEquals(List.of(0.0, 256.0, 255 * 128.0, sum, squares), read.subList(0, 5));
    assertEquals(LongStream.rangeClosed(1, 256).mapToObj(n -> (double) n).toList(), read.get(5));
    assertEquals(choices.stream().map(n -> (double) n).toList(), read.get(6));
  }

  @Test
  void histogramsAreThoseOfEveryTenthStep() throws IOException {
    ExpertMetrics.Layer layer = new ExpertMetrics.Layer(1, 2, 3, 4, 5, List.of(3L, 5L));
    ExpertMetrics experts = new ExpertMetrics(1, 2, 3, 4, 5, List.of(layer));
    try (TensorBoardWriter out = new TensorBoardWriter(dir, 0)) {
      for (int step = 1; step <= 21; step++) {
        out.write(new StepMetrics(step, 2, 1, 1, 7, 9, 9, 1, 0, 0, 0, Optional.of(experts)));
      }
    }
    assertEquals(
        List.of(1L, 10L, 20L),
        events().stream()
            .filter(event -> event.get("histograms") instanceof Map<?, ?> some && !some.isEmpty())
            .map(event -> event.get("step"))
            .toList());
  }

  @Test
  void aResumedRunMarksWhereItGoesOn() throws IOException {
    new TensorBoardWriter(dir, 41).close();
    assertEquals(42L, events().get(1).get("step"));
  }

  private List<Map<String, Object>> events() throws IOException {
    Path file;
    try (Stream<Path> files = Files.list(dir)) {
      file = files.findFirst().orElseThrow();
    }
    assertTrue(file.getFileName().toString().startsWith("events.out.tfevents."));
    ByteBuffer in = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
    List<Map<String, Object>> events = new ArrayList<>();
    while (in.hasRemaining()) {
      byte[] length = new byte[8];
      in.get(length);
      assertEquals(masked(length), in.getInt());
      byte[] payload =
          new byte[(int) ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getLong()];
      in.get(payload);
      assertEquals(masked(payload), in.getInt());
      events.add(event(payload));
    }
    return events;
  }

  private static Map<String, Object> event(byte[] payload) {
    Map<String, Object> event = new TreeMap<>();
    Map<String, Float> scalars = new TreeMap<>();
    Map<String, Object> histograms = new TreeMap<>();
    for (Field field : fields(payload)) {
      switch (field.number) {
        case 1 -> event.put("time", Double.longBitsToDouble(field.bits));
        case 2 -> event.put("step", field.bits);
        case 3 -> event.put("version", new String(field.bytes, StandardCharsets.UTF_8));
        case 5 -> {
          for (Field value : fields(field.bytes)) {
            List<Field> parts = fields(value.bytes);
            String tag = new String(parts.get(0).bytes, StandardCharsets.UTF_8);
            if (parts.get(1).number == 5) {
              histograms.put(tag, histogram(parts.get(1).bytes));
            } else {
              scalars.put(tag, Float.intBitsToFloat((int) parts.get(1).bits));
            }
          }
        }
        case 7 -> event.put("session", fields(field.bytes).get(0).bits);
        default -> throw new AssertionError("field " + field.number);
      }
    }
    event.put("scalars", scalars);
    event.put("histograms", histograms);
    return event;
  }

  /** Its fields in order: five numbers, limits, counts. */
  private static List<Object> histogram(byte[] message) {
    List<Object> parts = new ArrayList<>();
    for (Field field : fields(message)) {
      assertEquals(parts.size() + 1, field.number);
      if (field.number <= 5) {
        parts.add(Double.longBitsToDouble(field.bits));
        continue;
      }
      ByteBuffer packed = ByteBuffer.wrap(field.bytes).order(ByteOrder.LITTLE_ENDIAN);
      List<Double> numbers = new ArrayList<>();
      while (packed.hasRemaining()) {
        numbers.add(packed.getDouble());
      }
      parts.add(numbers);
    }
    return parts;
  }

  private record Field(int number, long bits, byte[] bytes) {}

  private static List<Field> fields(byte[] message) {
    ByteBuffer in = ByteBuffer.wrap(message).order(ByteOrder.LITTLE_ENDIAN);
    List<Field> fields = new ArrayList<>();
    while (in.hasRemaining()) {
      long tag = varint(in);
      byte[] bytes = new byte[0];
      long bits = 0;
      switch ((int) (tag & 7)) {
        case 0 -> bits = varint(in);
        case 1 -> bits = in.getLong();
        case 2 -> {
          bytes = new byte[(int) varint(in)];
          in.get(bytes);
        }
        case 5 -> bits = in.getInt();
        default -> throw new AssertionError("wire type of tag " + tag);
      }
      fields.add(new Field((int) (tag >>> 3), bits, bytes));
    }
    return fields;
  }

  private static long varint(ByteBuffer in) {
    long value = 0;
    for (int shift = 0; ; shift += 7) {
      byte next = in.get();
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
  }

  private static int masked(byte[] bytes) {
    int crc = crc(bytes);
    return (crc >>> 15 | crc << 17) + 0xa282ead8;
  }

  private static int crc(byte[] bytes) {
    int crc = ~0;
    for (byte b : bytes) {
      crc ^= b & 0xff;
      for (int bit = 0; bit < 8; bit++) {
        crc = crc >>> 1 ^ ((crc & 1) == 0 ? 0 : 0x82f63b78);
      }
    }
    return ~crc;
  }
}
