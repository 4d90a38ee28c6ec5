package dev.caravan.data.tokenize;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ProtoReaderTest {
  private static byte[] bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }

  private static ProtoReader reader(byte[] bytes) {
    return new ProtoReader(bytes, 0, bytes.length);
  }

  @Test
  void walksFieldsOfEveryWireType() {
    ProtoReader reader =
        reader(
            bytes(0x08, 0x96, 0x01, 0x11, 1, 2, 3, 4, 5, 6, 7, 8, 0x1D, 1, 2, 3, 4, 0x22, 2, 7, 9));
    assertTrue(reader.next());
    assertEquals(1, reader.field());
    assertEquals(150, reader.varint());
    assertTrue(reader.next());
    assertEquals(2, reader.field());
    reader.skip();
    assertTrue(reader.next());
    assertEquals(3, reader.field());
    reader.skip();
    assertTrue(reader.next());
    assertEquals(4, reader.field());
    assertArrayEquals(bytes(7, 9), reader.bytes());
    assertFalse(reader.next());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "08",
        "0880",
        "2205 01",
        "22FFFFFFFF0F",
        "22FFFFFFFFFFFFFFFFFF01",
        "110102",
        "0F",
        "00",
        "07",
        "08FFFFFFFFFFFFFFFFFFFFFF01"
      })
  void refusesMalformedBytes(String hex) {
    String digits = hex.replace(" ", "");
    byte[] bytes = new byte[digits.length() / 2];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Integer.parseInt(digits.substring(2 * i, 2 * i + 2), 16);
    }
    assertThrows(ProtoReader.Malformed.class, () -> skipAll(reader(bytes)));
  }

  @Test
  void neverReadsOutsideRandomBytes() {
    Random random = new Random(3);
    for (int i = 0; i < 20_000; i++) {
      byte[] bytes = new byte[random.nextInt(24)];
      random.nextBytes(bytes);
      try {
        skipAll(reader(bytes));
      } catch (ProtoReader.Malformed e) {
        assertFalse(e.getMessage().isEmpty());
      }
    }
  }

  private static void skipAll(ProtoReader reader) {
    while (reader.next()) {
      reader.skip();
    }
  }
}
