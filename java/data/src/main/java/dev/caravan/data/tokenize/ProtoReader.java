package dev.caravan.data.tokenize;

import java.util.Arrays;

/**
 * Walks the fields of a protocol buffer message (protobuf.dev, Encoding): a tag of field number and
 * wire type, then the value. Every length is checked against the message before use.
 */
final class ProtoReader {
  /** The bytes are not a message. */
  static final class Malformed extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Malformed(String message) {
      super(message);
    }
  }

  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int LENGTH_DELIMITED = 2;
  private static final int FIXED32 = 5;

  private final byte[] bytes;
  private final int end;
  private int at;
  private int field;
  private int wireType;

  /** The message in {@code bytes[from .. to)}. */
  ProtoReader(byte[] bytes, int from, int to) {
    this.bytes = bytes;
    at = from;
    end = to;
  }

  /**
   * Goes to the next field, whose value must then be read or skipped. Returns false behind the last
   * one.
   */
  boolean next() {
    if (at == end) {
      return false;
    }
    long tag = readVarint();
    if (tag < 8 || tag >>> 32 != 0) {
      throw new Malformed("tag " + tag + " at byte " + at);
    }
    field = (int) (tag >>> 3);
    wireType = (int) tag & 7;
    return true;
  }

  /** The number of the current field. */
  int field() {
    return field;
  }

  /** The value of the current field as a number. */
  long varint() {
    expect(VARINT);
    return readVarint();
  }

  /** The value of the current field as bytes. */
  byte[] bytes() {
    expect(LENGTH_DELIMITED);
    int length = readLength();
    at += length;
    return Arrays.copyOfRange(bytes, at - length, at);
  }

  /** The value of the current field as a message. */
  ProtoReader message() {
    expect(LENGTH_DELIMITED);
    int length = readLength();
    at += length;
    return new ProtoReader(bytes, at - length, at);
  }

  /** Passes over the value of the current field. */
  void skip() {
    switch (wireType) {
      case VARINT -> readVarint();
      case FIXED64 -> advance(8);
      case LENGTH_DELIMITED -> advance(readLength());
      case FIXED32 -> advance(4);
      default -> throw new Malformed("wire type " + wireType + " at byte " + at);
    }
  }

  private void expect(int type) {
    if (wireType != type) {
      throw new Malformed("field " + field + " has wire type " + wireType + ", expected " + type);
    }
  }

  private int readLength() {
    long length = readVarint();
    if (length < 0 || length > end - at) {
      throw new Malformed("length " + length + " at byte " + at + ", " + (end - at) + " are left");
    }
    return (int) length;
  }

  private void advance(int count) {
    if (count > end - at) {
      throw new Malformed("ends within a value");
    }
    at += count;
  }

  private long readVarint() {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at == end) {
        throw new Malformed("ends within a number");
      }
      byte b = bytes[at++];
      value |= (long) (b & 0x7F) << shift;
      if (b >= 0) {
        return value;
      }
    }
    throw new Malformed("number longer than 10 bytes at byte " + at);
  }
}
