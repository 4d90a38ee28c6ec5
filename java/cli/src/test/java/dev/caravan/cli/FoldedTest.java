package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class FoldedTest {
  private static String folded(String text) {
    Folded folded = new Folded(10, false);
    folded.plain(text);
    return folded.toString();
  }

  @Test
  void linesBreakAtTheLastSpaceThatFits() {
    assertEquals("one two\nthree four\nfive", folded("one two three four five"));
    assertEquals("1234567890\nx", folded("1234567890 x"));
    assertEquals("short\nlines\n\nstay", folded("short\nlines\n\nstay"));
  }

  @Test
  void aWordThatIsTooLongIsCut() {
    assertEquals("1234567890\n12345", folded("123456789012345"));
    assertEquals("a\n1234567890\n12 b", folded("a 123456789012 b"));
  }

  @Test
  void theLineGoesOnAcrossParts() {
    Folded folded = new Folded(10, false);
    folded.plain("one two ");
    folded.marked("[[three]]");
    assertEquals("one two\n[[three]]", folded.toString());
  }

  @Test
  void colourTakesNoColumnsAndEndsWithTheMark() {
    Folded folded = new Folded(10, true);
    folded.plain("one ");
    folded.marked("[[two three]]");
    folded.plain(" x");
    assertEquals("one \u001b[32m[[two\nthree]]\u001b[39m x", folded.toString());
  }
}
