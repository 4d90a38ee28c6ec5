package dev.caravan.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class NearestTest {
  private static final List<String> KEYS = List.of("length", "target_length", "packing", "lr");

  @Test
  void findsSlips() {
    assertEquals(Optional.of("length"), Nearest.find("lenght", KEYS));
    assertEquals(Optional.of("packing"), Nearest.find("pakcing", KEYS));
    assertEquals(Optional.of("target_length"), Nearest.find("Target-Length", KEYS));
    assertEquals(Optional.of("lr"), Nearest.find("lrr", KEYS));
  }

  @Test
  void leavesWhatIsNotASlip() {
    assertTrue(Nearest.find("optimizer", KEYS).isEmpty());
    assertTrue(Nearest.find("", KEYS).isEmpty());
  }

  @Test
  void saysOneSentence() {
    assertEquals(
        "unknown key 'lenght', did you mean 'length'?", Nearest.unknown("key", "lenght", KEYS));
    assertEquals(
        "unknown key 'xyzzy'; known: length, lr, packing, target_length",
        Nearest.unknown("key", "xyzzy", KEYS));
    assertEquals(
        "unknown category 'QA'; there is none here", Nearest.unknown("category", "QA", List.of()));
    List<String> many = IntStream.range(1000, 2840).mapToObj(i -> "n" + i).toList();
    String message = Nearest.unknown("task", "other", many);
    assertTrue(message.startsWith("unknown task 'other'; known: n1000, n1001, "), message);
    assertTrue(message.endsWith(", n1039 and 1800 more"), message);
  }

  @Test
  void countsASwapAsOneEdit() {
    assertEquals(1, Nearest.distance("ab", "ba"));
    assertEquals(3, Nearest.distance("", "abc"));
    assertEquals(3, Nearest.distance("kitten", "sitting"));
    assertEquals(0, Nearest.distance("same", "same"));
  }
}
