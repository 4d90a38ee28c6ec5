package dev.caravan.data.mixture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PermutationTest {
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 63, 64, 65, 255, 256, 257, 4096, 65_537})
  void isABijection(int size) {
    Permutation permutation = new Permutation(size);
    Set<Long> seen = new HashSet<>();
    for (long i = 0; i < size; i++) {
      long to = permutation.at(-7, i);
      assertTrue(to >= 0 && to < size);
      seen.add(to);
    }
    assertEquals(size, seen.size());
  }

  @ParameterizedTest
  @ValueSource(longs = {(1L << 31) + 1, (1L << 40) - 3, 1L << 62})
  void staysInsideLargeDomains(long size) {
    Permutation permutation = new Permutation(size);
    Set<Long> seen = new HashSet<>();
    for (long i = 0; i < 1000; i++) {
      long to = permutation.at(3, size - 1 - i);
      assertTrue(to >= 0 && to < size);
      seen.add(to);
    }
    assertEquals(1000, seen.size());
  }

  @Test
  void refusesWhatIsOutside() {
    Permutation permutation = new Permutation(10);
    assertThrows(IndexOutOfBoundsException.class, () -> permutation.at(0, 10));
    assertThrows(IndexOutOfBoundsException.class, () -> permutation.at(0, -1));
    assertThrows(IllegalArgumentException.class, () -> new Permutation(0));
  }
}
