package dev.caravan.checkpoint;

import dev.caravan.data.UserError;
import java.io.Closeable;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Tensors that several ranks wrote, each its own parts: a part is a row named after the tensor and its
 * first element there, as in "weight@4096". Any range can be read, however it was cut when it was
 * written.
 */
public final class TensorPieces implements Closeable {
  private static final char FIRST = '@';

  /** A part of a tensor: where it begins there, and where it lies. */
  private record Piece(long first, TensorInfo info, Safetensors file) {
    long end() {
      return first + info.elements();
    }
  }

  private final List<Path> paths;
  private final List<Safetensors> files = new ArrayList<>();
  private final Map<String, List<Piece>> tensors = new LinkedHashMap<>();

  private TensorPieces(List<Path> paths) {
    this.paths = paths;
  }

  /**
   * Opens files that belong together.
   *
   * @throws UserError if one is missing or damaged
   */
  static TensorPieces open(List<Path> paths) {
    TensorPieces pieces = new TensorPieces(paths);
    try {
      for (Path path : paths) {
        Safetensors file = Safetensors.open(path);
        pieces.files.add(file);
        for (TensorInfo info : file.tensors().values()) {
          pieces
              .tensors
              .computeIfAbsent(tensor(info.name()), name -> new ArrayList<>())
              .add(new Piece(first(info.name()), info, file));
        }
      }
    } catch (RuntimeException e) {
      pieces.close();
      throw e;
    }
    pieces.tensors.values().forEach(list -> list.sort(Comparator.comparingLong(Piece::first)));
    return pieces;
  }

  private static String tensor(String name) {
    int at = name.lastIndexOf(FIRST);
    return at < 0 ? name : name.substring(0, at);
  }

  private static long first(String name) {
    int at = name.lastIndexOf(FIRST);
    try {
      return at < 0 ? 0 : Long.parseLong(name.substring(at + 1));
    } catch (NumberFormatException e) {
      throw new UserError(name + ": needs a number behind " + FIRST, e);
    }
  }

  /**
   * Fills a tensor, or a part of one that is named so.
   *
   * @throws UserError if some of its elements are in no file
   */
  public void read(NamedTensor target) {
    String name = tensor(target.name());
    int size = target.type().bytes();
    long from = first(target.name());
    long end = from + target.bytes() / size;
    long next = from;
    for (Piece piece : tensors.getOrDefault(name, List.of())) {
      long stop = Math.min(end, piece.end());
      if (piece.first <= next && next < stop) {
        long count = stop - next;
        TensorInfo info = piece.info;
        int stored = info.type().bytes();
        piece.file.read(
            new TensorInfo(
                info.name(),
                info.type(),
                List.of(count),
                info.file(),
                info.offset() + (next - piece.first) * stored,
                count * stored),
            new NamedTensor(
                target.name(),
                target.address() + (next - from) * size,
                count * size,
                target.type(),
                List.of(count),
                target.access()));
        next = stop;
      }
    }
    if (next < end) {
      throw new UserError(paths + ": tensor " + name + ": element " + next + " is missing");
    }
  }

  @Override
  public void close() {
    files.forEach(Safetensors::close);
  }
}
