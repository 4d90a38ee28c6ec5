package dev.caravan.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.caravan.data.UserError;
import java.io.Closeable;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The tensors of a safetensors file, or of a folder that holds one or several as Hugging Face
 * writes them (model.safetensors, or model.safetensors.index.json with its shards).
 *
 * <p>Opening reads and checks the headers only. Tensors are read in pieces by positional reads, not
 * through a memory map: mapped pages would count as memory of the process, and a file that shrinks
 * under a map ends the whole process instead of failing with a line that names it. Several threads
 * may read at once.
 */
public final class Safetensors implements Closeable {
  /** The file of a model that is not sharded. */
  public static final String SINGLE_FILE = "model.safetensors";

  /** The list of a sharded model's files. */
  public static final String INDEX_FILE = SINGLE_FILE + ".index.json";

  private final Path path;
  private final Map<Path, FileChannel> channels = new LinkedHashMap<>();
  private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();

  private Safetensors(Path path) {
    this.path = path;
  }

  /**
   * Opens a file or a model folder.
   *
   * @throws UserError if a file is missing, truncated or damaged, naming it
   */
  public static Safetensors open(Path path) {
    Safetensors opened = new Safetensors(path);
    try {
      if (!Files.isDirectory(path)) {
        opened.addFile(path);
      } else if (Files.exists(path.resolve(SINGLE_FILE))) {
        opened.addFile(path.resolve(SINGLE_FILE));
      } else if (Files.exists(path.resolve(INDEX_FILE))) {
        opened.addShards(path.resolve(INDEX_FILE));
      } else {
        throw new UserError(path + ": holds neither " + SINGLE_FILE + " nor " + INDEX_FILE);
      }
      return opened;
    } catch (IOException e) {
      opened.close();
      throw new UserError(path + ": cannot be read: " + DurableFiles.reason(e), e);
    } catch (RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  private SafetensorsHeader addFile(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new UserError(file + ": no such file");
    }
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    channels.put(file, channel);
    SafetensorsHeader header = SafetensorsHeader.read(file, channel);
    for (TensorInfo info : header.tensors().values()) {
      TensorInfo other = tensors.putIfAbsent(info.name(), info);
      if (other != null) {
        throw new UserError(
            SafetensorsHeader.place(file, info.name()) + "is also in " + other.file());
      }
    }
    metadata.putAll(header.metadata());
    return header;
  }

  private void addShards(Path index) throws IOException {
    JsonNode weightMap;
    try {
      weightMap = new ObjectMapper().readTree(Files.readAllBytes(index)).path("weight_map");
    } catch (JsonProcessingException e) {
      throw new UserError(index + ": not JSON");
    }
    if (!weightMap.isObject() || weightMap.isEmpty()) {
      throw new UserError(index + ": has no weight_map");
    }
    for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
      String name = entry.getValue().asText();
      Path file = index.resolveSibling(name);
      if (name.isEmpty() || !file.getFileName().toString().equals(name)) {
        throw new UserError(index + ": weight_map names '" + name + "', needs a file beside it");
      }
      if (!channels.containsKey(file)) {
        if (!Files.isRegularFile(file)) {
          throw new UserError(
              file + ": missing; " + index.getFileName() + " says it holds " + entry.getKey());
        }
        addFile(file);
      }
      TensorInfo info = tensors.get(entry.getKey());
      if (info == null || !info.file().equals(file)) {
        throw new UserError(
            file
                + ": tensor "
                + entry.getKey()
                + " is missing; "
                + index.getFileName()
                + " says it is here");
      }
    }
  }

  /** Every tensor by name, in the order of the files' bytes. */
  public Map<String, TensorInfo> tensors() {
    return Collections.unmodifiableMap(tensors);
  }

  /** Shapes by name, for a model's check of what it needs. */
  public Map<String, List<Long>> shapes() {
    Map<String, List<Long>> shapes = new LinkedHashMap<>();
    tensors.values().forEach(info -> shapes.put(info.name(), info.shape()));
    return shapes;
  }

  /** The free-form metadata of the file or files. */
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  /**
   * Reads a tensor into native memory, converted to the target's type: exactly to a wider type, to
   * bfloat16 by rounding to nearest even. Integers are read only as the type that they have.
   *
   * @throws UserError if the tensor is missing, has another shape, cannot be converted, or is a
   *     float that holds NaN or infinity (naming the first such element; float64 read as such is
   *     not looked at)
   */
  public void read(NamedTensor target) {
    TensorInfo info = tensors.get(target.name());
    if (info == null) {
      throw new UserError(path + ": tensor " + target.name() + " is missing");
    }
    if (!info.shape().equals(target.shape())) {
      throw new UserError(
          SafetensorsHeader.place(info.file(), info.name())
              + "got shape "
              + info.shape()
              + ", needs "
              + target.shape());
    }
    transfer(info, TensorSink.nativeMemory(info, target));
  }

  /** Reads elements of a tensor of this file. */
  void read(TensorInfo elements, NamedTensor target) {
    transfer(elements, TensorSink.nativeMemory(elements, target));
  }

  /**
   * Reads a tensor as float32.
   *
   * @throws UserError as {@link #read}, and if it has more elements than an array can
   */
  public float[] readFloats(String name) {
    TensorInfo info = tensors.get(name);
    if (info == null) {
      throw new UserError(path + ": tensor " + name + " is missing");
    }
    if (info.elements() > Integer.MAX_VALUE - 8) {
      throw new UserError(
          SafetensorsHeader.place(info.file(), name) + "too large to be read into one array");
    }
    float[] values = new float[(int) info.elements()];
    transfer(info, TensorSink.array(info, values));
    return values;
  }

  /**
   * Reads every tensor and keeps none: finds files that cannot be read to their end and weights
   * that are not finite.
   *
   * @throws UserError naming the first such tensor
   */
  public void verify() {
    tensors.values().forEach(info -> transfer(info, TensorSink.nowhere(info)));
  }

  /** The files that hold the tensors. */
  public List<Path> files() {
    return List.copyOf(channels.keySet());
  }

  private void transfer(TensorInfo info, TensorSink sink) {
    try {
      sink.readFrom(channels.get(info.file()));
    } catch (IOException e) {
      throw new UserError(info.file() + ": cannot be read: " + DurableFiles.reason(e), e);
    }
  }

  /** Closes the files. Memory that was read into is not affected. */
  @Override
  public void close() {
    for (FileChannel channel : channels.values()) {
      try {
        channel.close();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
