package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.train.log.StepMetrics;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class ConsoleProgressTest {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final PrintStream out = new PrintStream(bytes, true, StandardCharsets.UTF_8);

  private static StepMetrics step(int step) {
    return new StepMetrics(step, 1.25, 1, 1, 7, 9, 1234.4, 1, 0, 0, 0);
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
    assertTrue(lines.get(0).startsWith("step 3/100  loss 1.2500  1,234 tokens/s"), lines.get(0));
    assertTrue(lines.get(lines.size() - 2).startsWith("step 100/100  loss 1.2500"));
    assertTrue(lines.get(lines.size() - 2).endsWith("0:00 left"));
    assertEquals("saved", lines.get(lines.size() - 1));
    assertTrue(lines.size() < 20);
  }

  @Test
  void onATerminalThereIsABar() {
    try (ConsoleProgress progress = new ConsoleProgress(out, true)) {
      progress.start(0, 3);
      for (int i = 1; i <= 3; i++) {
        progress.step(step(i));
      }
    }
    String shown = bytes.toString(StandardCharsets.UTF_8);
    assertTrue(shown.contains("3/3"), shown);
    assertTrue(shown.contains("loss 1.2500"), shown);
  }

  @Test
  void durationsReadLikeAClock() {
    assertEquals("0:07", ConsoleProgress.duration(7.4));
    assertEquals("2:03", ConsoleProgress.duration(123));
    assertEquals("1:02:03", ConsoleProgress.duration(3723));
  }
}
