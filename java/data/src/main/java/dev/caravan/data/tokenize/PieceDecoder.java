package dev.caravan.data.tokenize;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;

/**
 * Collects the text of pieces and of single bytes. Each byte that belongs to no UTF-8 character
 * becomes a U+FFFD of its own, as SentencePiece has it.
 */
final class PieceDecoder {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

  /** Appends text. */
  void text(String piece) {
    bytes.writeBytes(piece.getBytes(StandardCharsets.UTF_8));
  }

  /** Appends one byte. */
  void raw(int value) {
    bytes.write(value);
  }

  @Override
  public String toString() {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = ByteBuffer.wrap(bytes.toByteArray());
    CharBuffer out = CharBuffer.allocate(in.remaining());
    CoderResult result = decoder.decode(in, out, true);
    while (result.isMalformed()) {
      for (int i = 0; i < result.length(); i++) {
        in.get();
        out.put('\uFFFD');
      }
      result = decoder.decode(in, out, true);
    }
    return out.flip().toString();
  }

  /** The value of a byte piece, {@code <0x0A>}, or -1 if {@code piece} is not one. */
  static int byteValue(String piece) {
    if (piece.length() != 6 || !piece.startsWith("<0x") || piece.charAt(5) != '>') {
      return -1;
    }
    int high = Character.digit(piece.charAt(3), 16);
    int low = Character.digit(piece.charAt(4), 16);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
  }
}
