package dev.caravan.data.task;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.caravan.data.RowStore;
import java.util.Arrays;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

class EncodedRowTest {
  /** A row of letters: upper case ones are targets, '^' is BOS. */
  private static EncodedRow row(String letters) {
    EncodedRow row = new EncodedRow();
    for (char c : letters.toCharArray()) {
      row.add(c, Character.isUpperCase(c));
    }
    return row;
  }

  private static String truncated(String letters, int limit) {
    EncodedRow row = row(letters);
    row.truncate(limit, letters.startsWith("^"));
    assertEquals(letters.length() - row.length(), row.tokensCut());
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < row.length(); i++) {
      text.append((char) row.ids()[i]);
    }
    return text.toString();
  }

  @Test
  void takesThePromptsOldestTokensAndKeepsBos() {
    assertEquals("^abcDEF", truncated("^abcDEF", 7));
    assertEquals("^bcDEF", truncated("^abcDEF", 6));
    assertEquals("^DEF", truncated("^abcDEF", 4));
    assertEquals("bcDEF", truncated("abcDEF", 5));
    assertEquals("cDEF", truncated("abcDEF", 4));
  }

  @Test
  void cutsTheResponsesEndOnlyWhenNoPromptIsLeft() {
    assertEquals("^DE", truncated("^abcDEF", 3));
    assertEquals("cDE", truncated("abcDEF", 3));
    assertEquals("^", truncated("^abcDEF", 1));
    EncodedRow row = row("^abcDEF");
    row.truncate(1, true);
    assertEquals(0, RowStore.targets(row.labels(), row.length()));
  }

  @Test
  void keepsTheLastResponseOfSeveral() {
    assertEquals("^cDEfgHI", truncated("^abBcDEfgHI", 8));
    assertEquals("^gHI", truncated("^aBCcDEfgHI", 4));
    assertEquals("^gHI.", truncated("^aBCcDEfgHI.", 5));
  }

  @Property(tries = 500, seed = "17")
  void fitsAndKeepsWhatItCan(
      @ForAll @IntRange(min = 1, max = 30) int prompt,
      @ForAll @IntRange(min = 1, max = 30) int response,
      @ForAll @IntRange(min = 2, max = 70) int limit,
      @ForAll boolean bos) {
    EncodedRow row = new EncodedRow();
    for (int i = 0; i < prompt + response; i++) {
      row.add(1000 + i, i >= prompt);
    }
    row.truncate(limit, bos);
    assertEquals(Math.min(limit, prompt + response), row.length());
    int targets = RowStore.targets(row.labels(), row.length());
    assertEquals(Math.min(response, limit - 1), targets);
    for (int i = 1; i <= targets; i++) {
      int at = row.length() - targets + i - 1;
      assertEquals(1000 + prompt + i - 1, row.labels()[at], "the response from its start");
    }
    if (bos) {
      assertEquals(1000, row.ids()[0]);
    }
  }

  @Test
  void growsPastItsFirstCapacity() {
    EncodedRow row = new EncodedRow();
    for (int i = 0; i < 1000; i++) {
      row.add(i, i % 2 == 0);
    }
    assertEquals(1000, row.length());
    assertEquals(999, row.ids()[999]);
    assertEquals("[998, -100]", Arrays.toString(Arrays.copyOfRange(row.labels(), 998, 1000)));
  }
}
