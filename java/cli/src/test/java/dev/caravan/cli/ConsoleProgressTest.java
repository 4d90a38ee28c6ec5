package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.train.log.StepMetrics;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ConsoleProgressTest {
  private static final String CLEAR = "\r\u001b[K";

  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);

  private static StepMetrics step(int step) {
    return new StepMetrics(step, 1.25, 1, 1, 7, 9, 1234.4, 1, 0.25, 0, 0);
  }

  @Test
  void withoutATerminalThereAreFewPlainLines() {
    try (ConsoleProgress progress = new ConsoleProgress(out, false)) {
      progress.start(2, 100);
      for (int i = 3; i <= 100; i++) {
        progress.step(step(i));
      }
      progress.note("saved");
    }
    List<String> lines = bytes.toString(StandardCharsets.UTF_8).lines().toList();
    assertTrue(
        lines.get(0).startsWith("step 3/100  loss 1.2500  1,234 tokens/s  data 25 %  "), lines.get(0));
    assertFalse(lines.stream().anyMatch(line -> line.contains("\u001b") || line.contains("\r")));
    assertTrue(lines.get(lines.size() - 2).startsWith("step 100/100  loss 1.2500"));
    assertTrue(lines.get(lines.size() - 2).endsWith("0:00 left"));
    assertEquals("saved", lines.get(lines.size() - 1));
    assertTrue(lines.size() < 20);
  }

  /** What a terminal shows in the end: a carriage return and a wiped line leave no trace. */
  private List<String> screen() {
    List<String> lines = new ArrayList<>();
    for (String line : bytes.toString(StandardCharsets.UTF_8).split("\n", -1)) {
      int wiped = line.lastIndexOf(CLEAR);
      lines.add(wiped < 0 ? line : line.substring(wiped + CLEAR.length()));
    }
    return lines;
  }

  @Test
  void onATerminalOneLineIsDrawnInItsPlace() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true)) {
      progress.start(0, 3);
      for (int i = 1; i <= 3; i++) {
        progress.step(step(i));
      }
    }
    List<String> screen = screen();
    assertEquals(2, screen.size(), screen.toString());
    assertEquals(
        "[=================] step 3/3  loss 1.2500  1,234 tokens/s  data 25 %  0:00 left",
        screen.get(0));
    assertEquals("", screen.get(1));
  }

  @Test
  void aNoteStandsAboveTheLine() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true)) {
      progress.note("before");
      progress.start(0, 2);
      progress.step(step(1));
      progress.note("saved");
      progress.step(step(2));
    }
    List<String> screen = screen();
    assertEquals("before", screen.get(0));
    assertEquals("saved", screen.get(1));
    assertTrue(screen.get(2).contains("step 2/2"), screen.toString());
    assertEquals(4, screen.size());
  }

  @Test
  void theLineNeverWrapsAtEightyColumns() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true)) {
      progress.start(0, 1_000_000);
      progress.step(new StepMetrics(1, 12.3456, 1, 1, 7, 9, 12_345_678, 1e6, 0, 0, 0));
      progress.step(step(1_000_000));
    }
    for (String line : bytes.toString(StandardCharsets.UTF_8).split("\r\u001b\\[K|\n")) {
      assertTrue(line.length() < 80, line);
    }
  }

  @Test
  void durationsReadLikeAClock() {
    assertEquals("0:07", ConsoleProgress.duration(7.4));
    assertEquals("2:03", ConsoleProgress.duration(123));
    assertEquals("1:02:03", ConsoleProgress.duration(3723));
  }
}
