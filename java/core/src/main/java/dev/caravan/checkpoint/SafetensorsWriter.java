package dev.caravan.checkpoint;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Writes tensors from native memory as safetensors, window by window: no second copy of the weights is
 * made. The
 * data begins at a multiple of 64 bytes, wider elements first, so that every tensor is aligned.
 */
public final class SafetensorsWriter {
  /** Hugging Face's default: a model above this is split into several files. */
  public static final long MAX_SHARD_BYTES = 5_000_000_000L;

  private static final int ALIGNMENT = 64;

  private SafetensorsWriter() {}

  /**
   * Replaces one file atomically.
   *
   * @throws dev.caravan.data.UserError if it cannot be written; an old file is then untouched
   */
  public static void replace(Path file, List<NamedTensor> tensors) {
    DurableFiles.replace(file, channel -> write(channel, tensors));
  }

  /**
   * Writes a model's weights into a folder that nobody reads yet: model.safetensors, or shards with
   * an index where the weights pass the limit.
   *
   * @param folder an existing folder
   * @param maxShardBytes most bytes of tensors in one file; a larger tensor has a file of its own
   */
  static void writeModel(
      Path folder, List<NamedTensor> tensors, long maxShardBytes, DurableFiles.Opener opener)
      throws IOException {
    List<List<NamedTensor>> shards = shards(tensors, maxShardBytes);
    if (shards.size() == 1) {
      Path file = folder.resolve(Safetensors.SINGLE_FILE);
      DurableFiles.write(file, channel -> write(channel, shards.get(0)), opener);
      return;
    }
    ObjectNode index = JsonNodeFactory.instance.objectNode();
    long total = tensors.stream().mapToLong(NamedTensor::bytes).sum();
    index.putObject("metadata").put("total_size", total);
    ObjectNode weightMap = index.putObject("weight_map");
    for (int i = 0; i < shards.size(); i++) {
      String name = String.format("model-%05d-of-%05d.safetensors", i + 1, shards.size());
      List<NamedTensor> shard = shards.get(i);
      DurableFiles.write(folder.resolve(name), channel -> write(channel, shard), opener);
      shard.forEach(tensor -> weightMap.put(tensor.name(), name));
    }
    ByteBuffer bytes = utf8(index.toPrettyString() + "\n");
    DurableFiles.write(
        folder.resolve(Safetensors.INDEX_FILE),
        channel -> DurableFiles.writeFully(channel, bytes),
        opener);
  }

  private static List<List<NamedTensor>> shards(List<NamedTensor> tensors, long maxBytes) {
    List<List<NamedTensor>> shards = new ArrayList<>();
    shards.add(new ArrayList<>());
    long bytes = 0;
    for (NamedTensor tensor : tensors) {
      List<NamedTensor> last = shards.get(shards.size() - 1);
      if (!last.isEmpty() && bytes + tensor.bytes() > maxBytes) {
        last = new ArrayList<>();
        shards.add(last);
        bytes = 0;
      }
      last.add(tensor);
      bytes += tensor.bytes();
    }
    return shards;
  }

  /** Writes header and tensors to an empty file. */
  static void write(FileChannel channel, List<NamedTensor> tensors) throws IOException {
    List<NamedTensor> ordered = new ArrayList<>(tensors);
    ordered.sort(Comparator.comparingInt(tensor -> -tensor.type().bytes()));
    DurableFiles.writeFully(channel, header(ordered));
    for (NamedTensor tensor : ordered) {
      int window = tensor.access().window();
      for (long done = 0; done < tensor.bytes(); done += window) {
        int bytes = (int) Math.min(window, tensor.bytes() - done);
        DurableFiles.writeFully(channel, tensor.access().read(tensor.address() + done, bytes));
      }
    }
  }

  private static ByteBuffer header(List<NamedTensor> tensors) {
    ObjectNode json = JsonNodeFactory.instance.objectNode();
    json.putObject("__metadata__").put("format", "pt");
    long offset = 0;
    for (NamedTensor tensor : tensors) {
      if (json.has(tensor.name())) {
        throw new IllegalArgumentException("two tensors are called " + tensor.name());
      }
      ObjectNode entry = json.putObject(tensor.name());
      entry.put("dtype", tensor.type().name());
      ArrayNode shape = entry.putArray("shape");
      tensor.shape().forEach(shape::add);
      entry.putArray("data_offsets").add(offset).add(offset + tensor.bytes());
      offset += tensor.bytes();
    }
    byte[] text = json.toString().getBytes(StandardCharsets.UTF_8);
    int length = (text.length + Long.BYTES + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - Long.BYTES;
    ByteBuffer header = ByteBuffer.allocate(Long.BYTES + length).order(ByteOrder.LITTLE_ENDIAN);
    header.putLong(length).put(text);
    while (header.hasRemaining()) {
      header.put((byte) ' ');
    }
    return header.flip();
  }

  static ByteBuffer utf8(String text) {
    return ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
  }
}
