package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** The command line as a process of its own. */
final class Child {
  private static final int PATIENCE_MINUTES = 5;

  private Child() {}

  /** The command that runs a verb in another JVM, with further options of that JVM. */
  static List<String> command(List<String> options, String... args) {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0"));
    command.addAll(options);
    command.addAll(List.of("-cp", classPath(), Main.class.getName()));
    command.addAll(List.of(args));
    return command;
  }

  /** The class path of this test; Surefire may hide it behind a jar of its own. */
  private static String classPath() {
    String named = System.getProperty("surefire.test.class.path");
    return named != null ? named : System.getProperty("java.class.path");
  }

  /**
   * Runs a verb to its end.
   *
   * @param folder for what it prints
   * @param environment variables that it gets beside those of this process
   * @param options of its JVM
   */
  static Captured run(
      Path folder, Map<String, String> environment, List<String> options, String... args) {
    Path out = folder.resolve("child.out");
    Path err = folder.resolve("child.err");
    ProcessBuilder builder = new ProcessBuilder(command(options, args));
    builder.environment().putAll(environment);
    builder.redirectOutput(out.toFile()).redirectError(err.toFile());
    try {
      Process process = builder.start();
      boolean ended = process.waitFor(PATIENCE_MINUTES, TimeUnit.MINUTES);
      process.destroyForcibly().waitFor();
      assertTrue(ended, () -> "the process hangs: " + err);
      return new Captured(process.exitValue(), Files.readString(out), Files.readString(err));
    } catch (IOException e) {
      throw new IllegalStateException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }
}
