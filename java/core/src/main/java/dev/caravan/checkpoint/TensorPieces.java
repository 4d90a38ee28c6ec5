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
 * Tensors that several ranks wrote, each its own parts: a part is a row with the name of a {@link
 * PieceName}. Any range can be read, however it was cut when it was written.
 */
public final class TensorPieces implements Closeable {
  /** A part of a tensor: which, and where it lies. */
  private record Piece(PieceName name, TensorInfo info, Safetensors file) {}

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
        file.tensors().values().forEach(info -> pieces.add(PieceName.parse(info.name()), info, file));
      }
    } catch (RuntimeException e) {
      pieces.close();
      throw e;
    }
    pieces
        .tensors
        .values()
        .forEach(list -> list.sort(Comparator.comparingLong(piece -> piece.name.from())));
    return pieces;
  }

  /** The whole tensors of a file, to read parts of; the file stays open. */
  public static TensorPieces of(Safetensors file) {
    TensorPieces pieces = new TensorPieces(file.files());
    file.tensors()
        .values()
        .forEach(info -> pieces.add(new PieceName(info.name(), 0), info, file));
    return pieces;
  }

  private void add(PieceName name, TensorInfo info, Safetensors file) {
    tensors
        .computeIfAbsent(name.tensor(), its -> new ArrayList<>())
        .add(new Piece(name, info, file));
  }

  /**
   * Fills a tensor, or a part of one that is named so.
   *
   * @throws UserError if some of its elements are in no file
   */
  public void read(NamedTensor target) {
    PieceName name = PieceName.parse(target.name());
    long count = target.bytes() / target.type().bytes();
    List<Piece> pieces = tensors.getOrDefault(name.tensor(), List.of());
    if (sameView(pieces, name, target, count) == count) {
      return;
    }
    for (long i = 0; i < count; ) {
      long next = i;
      long place = name.place(i);
      for (Piece piece : pieces) {
        long index = piece.name.index(place);
        if (index >= 0 && index < piece.info.elements() && next == i) {
          long most = Math.min(name.together(i), piece.name.together(index));
          long length = Math.min(Math.min(most, count - i), piece.info.elements() - index);
          read(piece, index, target, i, length);
          next = i + length;
        }
      }
      if (next == i) {
        throw new UserError(
            paths + ": tensor " + name.tensor() + ": element " + place + " is missing");
      }
      i = next;
    }
  }

  /** Reads from rows of the target's own view, in as few pieces as there are; gives how far it came. */
  private static long sameView(
      List<Piece> pieces, PieceName name, NamedTensor target, long count) {
    long next = 0;
    for (Piece piece : pieces) {
      long index = name.from() + next - piece.name.from();
      if (piece.name.sameView(name) && index >= 0 && index < piece.info.elements() && next < count) {
        long length = Math.min(count - next, piece.info.elements() - index);
        read(piece, index, target, next, length);
        next += length;
      }
    }
    return next;
  }

  /** Moves elements of a piece from one on to those of the target from one on. */
  private static void read(Piece piece, long index, NamedTensor target, long at, long count) {
    TensorInfo info = piece.info;
    int stored = info.type().bytes();
    int size = target.type().bytes();
    piece.file.read(
        new TensorInfo(
            info.name(),
            info.type(),
            List.of(count),
            info.file(),
            info.offset() + index * stored,
            count * stored),
        new NamedTensor(
            target.name(),
            target.address() + at * size,
            count * size,
            target.type(),
            List.of(count),
            target.access()));
  }

  @Override
  public void close() {
    files.forEach(Safetensors::close);
  }
}
