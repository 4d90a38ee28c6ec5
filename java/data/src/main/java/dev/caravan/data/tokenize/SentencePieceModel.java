package dev.caravan.data.tokenize;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The parts of a SentencePiece {@code .model} file that decoding and special tokens need. The file
 * is a protocol buffer; field numbers and defaults are those of sentencepiece_model.proto
 * (google/sentencepiece, Apache-2.0).
 */
final class SentencePieceModel {
  /** What a piece is. */
  enum Type {
    NORMAL,
    UNKNOWN,
    CONTROL,
    USER_DEFINED,
    UNUSED,
    BYTE
  }

  /**
   * One entry of the vocabulary; its id is its place.
   *
   * @param text the piece, with U+2581 for a space
   * @param type what it is
   */
  record Piece(String text, Type type) {}

  /**
   * Appended to a model, this replaces its add_dummy_prefix by false: protocol buffers merge
   * repeated submessages.
   */
  private static final byte[] NO_DUMMY_PREFIX = {0x1A, 2, 0x18, 0};

  private final List<Piece> pieces = new ArrayList<>();
  private final Map<String, Integer> ids = new HashMap<>();
  private final byte[] bytes;
  private String bosPiece = "<s>";
  private String eosPiece = "</s>";
  private String padPiece = "<pad>";
  private String unknownSurface = " \u2047 ";
  private boolean addDummyPrefix = true;
  private boolean removeExtraWhitespaces = true;

  private SentencePieceModel(byte[] bytes) {
    this.bytes = bytes;
  }

  /**
   * Reads {@code file}.
   *
   * @throws UserError if it cannot be read or is not a SentencePiece model
   */
  static SentencePieceModel read(Path file) {
    SentencePieceModel model;
    try {
      model = new SentencePieceModel(Files.readAllBytes(file));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    try {
      model.parse();
    } catch (ProtoReader.Malformed e) {
      throw new UserError(file + ": not a SentencePiece model: " + e.getMessage(), e);
    }
    if (model.pieces.isEmpty()) {
      throw new UserError(file + ": not a SentencePiece model: no pieces in it");
    }
    return model;
  }

  /** The file as it is. */
  byte[] bytes() {
    return bytes;
  }

  /** The same model without the space that it puts before a text. */
  byte[] bytesWithoutDummyPrefix() {
    byte[] changed = Arrays.copyOf(bytes, bytes.length + NO_DUMMY_PREFIX.length);
    System.arraycopy(NO_DUMMY_PREFIX, 0, changed, bytes.length, NO_DUMMY_PREFIX.length);
    return changed;
  }

  List<Piece> pieces() {
    return pieces;
  }

  /** The id of a piece by its exact text, or null. */
  Integer id(String piece) {
    return ids.get(piece);
  }

  int bosId() {
    return control(bosPiece);
  }

  int eosId() {
    return control(eosPiece);
  }

  int padId() {
    return control(padPiece);
  }

  /** What an unknown piece is decoded to. */
  String unknownSurface() {
    return unknownSurface;
  }

  boolean addDummyPrefix() {
    return addDummyPrefix;
  }

  boolean removeExtraWhitespaces() {
    return removeExtraWhitespaces;
  }

  /**
   * As the library does: a special token is there if a piece of its name is, and that is a control
   * piece.
   */
  private int control(String piece) {
    Integer id = ids.get(piece);
    return id != null && pieces.get(id).type() == Type.CONTROL ? id : Tokenizer.NONE;
  }

  private void parse() {
    ProtoReader model = new ProtoReader(bytes, 0, bytes.length);
    while (model.next()) {
      switch (model.field()) {
        case 1 -> piece(model.message());
        case 2 -> trainer(model.message());
        case 3 -> normalizer(model.message());
        default -> model.skip();
      }
    }
  }

  private void piece(ProtoReader message) {
    String text = "";
    Type type = Type.NORMAL;
    while (message.next()) {
      switch (message.field()) {
        case 1 -> text = new String(message.bytes(), StandardCharsets.UTF_8);
        case 3 -> type = type(message.varint());
        default -> message.skip();
      }
    }
    if (type == Type.BYTE && PieceDecoder.byteValue(text) < 0) {
      throw new ProtoReader.Malformed("byte piece '" + text + "', expected <0x00> to <0xFF>");
    }
    ids.putIfAbsent(text, pieces.size());
    pieces.add(new Piece(text, type));
  }

  private void trainer(ProtoReader message) {
    while (message.next()) {
      switch (message.field()) {
        case 44 -> unknownSurface = new String(message.bytes(), StandardCharsets.UTF_8);
        case 46 -> bosPiece = new String(message.bytes(), StandardCharsets.UTF_8);
        case 47 -> eosPiece = new String(message.bytes(), StandardCharsets.UTF_8);
        case 48 -> padPiece = new String(message.bytes(), StandardCharsets.UTF_8);
        default -> message.skip();
      }
    }
  }

  private void normalizer(ProtoReader message) {
    while (message.next()) {
      switch (message.field()) {
        case 3 -> addDummyPrefix = message.varint() != 0;
        case 4 -> removeExtraWhitespaces = message.varint() != 0;
        default -> message.skip();
      }
    }
  }

  private static Type type(long number) {
    return switch ((int) number) {
      case 1 -> Type.NORMAL;
      case 2 -> Type.UNKNOWN;
      case 3 -> Type.CONTROL;
      case 4 -> Type.USER_DEFINED;
      case 5 -> Type.UNUSED;
      case 6 -> Type.BYTE;
      default -> throw new ProtoReader.Malformed("piece of type " + number);
    };
  }
}
