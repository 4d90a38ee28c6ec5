package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The launcher script, in a folder that holds nothing but it and its texts: there it must not
 * build.
 */
class LauncherTest {
  private static final Path ROOT = Path.of("../..").toAbsolutePath().normalize();
  private static final Path HELP = Path.of("java/cli/src/main/resources/dev/caravan/cli/help");

  /** All that the script may call when it is asked for help or its version; no Java, no Maven. */
  private static final List<String> TOOLS =
      List.of("bash", "env", "readlink", "dirname", "cat", "sed", "head");

  @TempDir Path folder;
  private Path caravan;
  private Path bin;
  private Map<String, String> environment = Map.of();

  private record Result(int exit, String out, String err) {}

  @BeforeEach
  void copyLauncher() throws IOException {
    Path home = Files.createDirectories(folder.resolve("a home"));
    caravan = Files.copy(ROOT.resolve("caravan"), home.resolve("caravan"));
    assertTrue(caravan.toFile().setExecutable(true));
    Files.copy(ROOT.resolve("pom.xml"), home.resolve("pom.xml"));
    Files.createDirectories(home.resolve(HELP));
    for (Path text : texts()) {
      Files.copy(text, home.resolve(HELP).resolve(text.getFileName()));
    }
    bin = Files.createDirectories(folder.resolve("bin"));
    tools(TOOLS);
  }

  private void tools(List<String> names) throws IOException {
    for (String name : names) {
      for (String place : List.of("/usr/bin", "/bin")) {
        Path tool = Path.of(place, name);
        if (Files.exists(tool)) {
          script(bin.resolve(name), "exec " + tool + " \"$@\"");
        }
      }
    }
  }

  private static void script(Path file, String text) throws IOException {
    Files.writeString(file, "#!/bin/bash\n" + text + "\n");
    assertTrue(file.toFile().setExecutable(true));
  }

  private static List<Path> texts() throws IOException {
    try (Stream<Path> files = Files.list(ROOT.resolve(HELP))) {
      return files.sorted().toList();
    }
  }

  @Test
  void helpAndVersionNeedNeitherBuildNorJvm() throws Exception {
    Result version = run("--version");
    assertEquals(0, version.exit);
    assertTrue(version.out.matches("caravan \\d+\\.\\d+\\.\\d+(-\\w+)?\n"), version.out);

    for (Path text : texts()) {
      String verb = text.getFileName().toString().replace(".txt", "");
      String expected = Files.readString(text);
      assertTrue(expected.contains("Examples\n"), verb);
      if (!verb.equals("caravan")) {
        assertEquals(new Result(0, expected, ""), run(verb, "some", "--help"));
        assertEquals(new Result(0, expected, ""), run("help", verb));
      } else {
        assertEquals(new Result(0, expected, ""), run("--help"));
      }
    }
    assertFalse(Files.exists(caravan.resolveSibling("target")));
  }

  @Test
  void noVerbIsBadUsage() throws Exception {
    Result result = run();
    assertEquals(2, result.exit);
    assertEquals("", result.out);
    assertTrue(result.err.contains("caravan VERB"), result.err);
    assertEquals(2, run("setup", "--nonsense").exit);
  }

  @Test
  void whatIsMissingIsNamedWhereItCannotBeInstalled() throws Exception {
    tools(List.of("mkdir", "flock", "grep"));
    Result result = run("sft", "x.yaml");
    assertEquals(2, result.exit, result.err);
    assertEquals("", result.out);
    assertTrue(result.err.contains("missing: "), result.err);
    assertTrue(result.err.contains("maven cmake ninja-build g++"), result.err);
  }

  /** With a stamp that fits, the program is run at once: here one that tells how it was called. */
  @Test
  void aBuiltProgramGetsTheArgumentsAndTheFolderOfTheCaller() throws Exception {
    tools(List.of("find", "mkdir", "flock"));
    Path home = caravan.getParent();
    Path jdk = Files.createDirectories(folder.resolve("jdk"));
    Files.createDirectories(jdk.resolve("bin"));
    Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"17.0.1\"\n");
    script(jdk.resolve("bin/javac"), "exit 1");
    script(jdk.resolve("bin/java"), "echo \"in $PWD\"; printf '<%s>' \"${@: -4}\"; exit 7");
    for (String source : List.of(".mvn", "cmake", "native", "java/cli/target/lib")) {
      Files.createDirectories(home.resolve(source));
    }
    Files.writeString(home.resolve("java/cli/target/caravan-cli-1.jar"), "");
    Files.createDirectories(home.resolve("target"));
    Path stamp = home.resolve("target/caravan.stamp");
    String facts = "root %s\njdk %s\nnvcc none\n".formatted(home.toRealPath(), jdk);
    Files.writeString(stamp, facts);

    environment = Map.of("JAVA_HOME", jdk.toString());
    Result result = run("sft", "my recipe.yaml", "--set");
    assertEquals("", result.err);
    assertEquals(
        "in " + folder.toRealPath() + "\n<dev.caravan.cli.Main><sft><my recipe.yaml><--set>",
        result.out);
    assertEquals(7, result.exit);

    // A source that is newer than the stamp, and a stamp of another place, ask for a build.
    Files.writeString(home.resolve("native/new.cpp"), "");
    Result changed = run("sft", "x");
    assertEquals(2, changed.exit);
    assertTrue(changed.err.contains("missing: maven"), changed.err);
    Files.writeString(stamp, facts.replace("root ", "root /elsewhere"));
    assertEquals(2, run("sft", "x").exit);
  }

  @Test
  void everyVerbOfTheOverviewHasAText() throws Exception {
    String overview = Files.readString(ROOT.resolve(HELP).resolve("caravan.txt"));
    List<String> named =
        overview
            .lines()
            .filter(line -> line.matches("  [a-z]+( RECIPE)? {8,}.*"))
            .map(line -> line.strip().split(" ")[0])
            .sorted()
            .toList();
    List<String> files =
        texts().stream()
            .map(text -> text.getFileName().toString().replace(".txt", ""))
            .filter(verb -> !verb.equals("caravan"))
            .toList();
    assertEquals(files, named);
  }

  private Result run(String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(caravan.toString()));
    command.addAll(List.of(arguments));
    Path out = folder.resolve("out");
    Path err = folder.resolve("err");
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    builder.environment().clear();
    builder.environment().putAll(environment);
    builder.environment().put("PATH", bin.toString());
    Process process = builder.redirectOutput(out.toFile()).redirectError(err.toFile()).start();
    process.getOutputStream().close();
    int exit = process.waitFor();
    return new Result(
        exit,
        Files.readString(out, StandardCharsets.UTF_8),
        Files.readString(err, StandardCharsets.UTF_8));
  }
}
