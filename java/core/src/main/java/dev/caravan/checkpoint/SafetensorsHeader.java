package dev.caravan.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of one safetensors file: eight bytes of length, then a JSON object that maps each name
 * to type, shape and a range of the bytes behind it. All of it is checked against the file's real
 * size before anyone uses it; like the reference reader, gaps and overlaps are refused.
 *
 * @param tensors by name, in the order of their bytes
 * @param metadata the free-form {@code __metadata__}
 */
record SafetensorsHeader(Map<String, TensorInfo> tensors, Map<String, String> metadata) {
  /** The reference reader's limit. */
  private static final long MAX_HEADER_BYTES = 100_000_000;

  private static final int LENGTH_BYTES = 8;
  private static final String METADATA = "__metadata__";
  private static final ObjectMapper JSON =
      JsonMapper.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  static SafetensorsHeader read(Path file, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size < LENGTH_BYTES) {
      throw new UserError(
          file + ": truncated: got " + size + " bytes, a safetensors file has at least 8");
    }
    ByteBuffer lengthField = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    readFully(channel, lengthField, 0, file);
    long length = lengthField.getLong(0);
    if (length < 2 || length > MAX_HEADER_BYTES) {
      throw new UserError(
          file
              + ": not a safetensors file: its header claims "
              + Long.toUnsignedString(length)
              + " bytes");
    }
    if (length > size - LENGTH_BYTES) {
      throw new UserError(
          file
              + ": truncated: its header claims "
              + length
              + " bytes, got "
              + (size - LENGTH_BYTES));
    }
    ByteBuffer header = ByteBuffer.allocate((int) length);
    readFully(channel, header, LENGTH_BYTES, file);
    JsonNode json;
    try {
      json = JSON.readTree(header.array());
    } catch (JsonProcessingException e) {
      throw new UserError(
          file
              + ": not a safetensors file: its header is not JSON: "
              + e.getOriginalMessage().lines().findFirst().orElse(""));
    }
    if (json == null || !json.isObject()) {
      throw new UserError(file + ": not a safetensors file: its header is no JSON object");
    }
    return parse(file, json, LENGTH_BYTES + length, size);
  }

  private static SafetensorsHeader parse(Path file, JsonNode json, long dataStart, long size) {
    Map<String, String> metadata = new LinkedHashMap<>();
    List<TensorInfo> infos = new ArrayList<>();
    for (Map.Entry<String, JsonNode> entry : json.properties()) {
      if (entry.getKey().equals(METADATA)) {
        entry.getValue().properties().forEach(m -> metadata.put(m.getKey(), m.getValue().asText()));
      } else {
        infos.add(tensor(file, entry.getKey(), entry.getValue(), dataStart));
      }
    }
    infos.sort(Comparator.comparingLong(TensorInfo::offset).thenComparingLong(TensorInfo::bytes));
    long end = dataStart;
    Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    for (TensorInfo info : infos) {
      if (info.offset() != end) {
        throw new UserError(
            place(file, info.name())
                + "got byte offset "
                + (info.offset() - dataStart)
                + ", needs "
                + (end - dataStart)
                + ": tensors overlap or leave a gap");
      }
      end += info.bytes();
      if (end > size || end < 0) {
        throw new UserError(
            place(file, info.name())
                + "truncated: its last byte is "
                + end
                + ", the file has "
                + size);
      }
      tensors.put(info.name(), info);
    }
    if (end != size) {
      throw new UserError(
          file + ": got " + size + " bytes, its header describes " + end + ": damaged");
    }
    return new SafetensorsHeader(tensors, metadata);
  }

  private static TensorInfo tensor(Path file, String name, JsonNode node, long dataStart) {
    StoredType type = StoredType.named(node.path("dtype").asText());
    if (type == null) {
      throw new UserError(
          place(file, name)
              + "got dtype "
              + node.path("dtype")
              + ", known: "
              + List.of(StoredType.values()));
    }
    List<Long> shape = longs(node.path("shape"));
    List<Long> range = longs(node.path("data_offsets"));
    if (shape == null || range == null || range.size() != 2) {
      throw new UserError(
          place(file, name) + "its header entry needs shape and data_offsets as whole numbers");
    }
    long bytes = range.get(1) - range.get(0);
    long expected = Shapes.bytes(shape, type);
    if (expected < 0 || bytes != expected) {
      throw new UserError(
          place(file, name)
              + "got "
              + bytes
              + " bytes, "
              + type
              + " "
              + shape
              + " needs "
              + (expected < 0 ? "more than a file can hold" : expected));
    }
    return new TensorInfo(name, type, shape, file, dataStart + range.get(0), bytes);
  }

  /** The elements of an array of whole numbers from 0 to 2^62, or null if it is anything else. */
  private static List<Long> longs(JsonNode array) {
    if (!array.isArray()) {
      return null;
    }
    List<Long> values = new ArrayList<>();
    for (JsonNode value : array) {
      if (!value.isIntegralNumber() || !value.canConvertToLong()) {
        return null;
      }
      long number = value.asLong();
      if (number < 0 || number > 1L << 62) {
        return null;
      }
      values.add(number);
    }
    return List.copyOf(values);
  }

  static String place(Path file, String tensor) {
    return file + ": tensor " + tensor + ": ";
  }

  /** Fills the buffer from its position to its limit. */
  static void readFully(FileChannel channel, ByteBuffer buffer, long position, Path file)
      throws IOException {
    long at = position;
    while (buffer.hasRemaining()) {
      int got = channel.read(buffer, at);
      if (got < 0) {
        throw new UserError(file + ": truncated while it was read, at byte " + at);
      }
      at += got;
    }
  }
}
