package dev.caravan.eval.suite;

import dev.caravan.data.tokenize.Tokenizer;
import java.nio.charset.StandardCharsets;
import java.util.OptionalInt;

/** A token for each byte below 128, behind the special ones; bytes above share one token. */
final class ByteTokenizer implements Tokenizer {
  private static final int FIRST = 3;

  @Override
  public int vocabSize() {
    return FIRST + 129;
  }

  @Override
  public int bosId() {
    return 1;
  }

  @Override
  public int eosId() {
    return 2;
  }

  @Override
  public int padId() {
    return 0;
  }

  @Override
  public boolean addsBos() {
    return true;
  }

  @Override
  public OptionalInt id(String piece) {
    return OptionalInt.empty();
  }

  @Override
  public int[] encode(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    int[] ids = new int[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      ids[i] = FIRST + (bytes[i] < 0 ? 128 : bytes[i]);
    }
    return ids;
  }

  @Override
  public int[] encodeContinuation(String text) {
    return encode(text);
  }

  @Override
  public String decode(int[] ids) {
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      text.append(id < FIRST ? "" : id >= FIRST + 128 ? "?" : String.valueOf((char) (id - FIRST)));
    }
    return text.toString();
  }

  @Override
  public void close() {}
}
