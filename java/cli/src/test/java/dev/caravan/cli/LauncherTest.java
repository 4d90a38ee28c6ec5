package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
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

  /**
   * A JDK, a Maven and sources of a kind, in place of the true ones: the program tells how it was
   * called and ends with 7; the build counts its calls, or fails where a file says so.
   */
  private Path fakeBuild() throws IOException {
    tools(List.of("find", "sort", "cksum", "mkdir", "flock", "mv", "rm", "grep"));
    Path home = caravan.getParent();
    Path jdk = folder.resolve("jdk");
    Files.createDirectories(jdk.resolve("bin"));
    Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"17.0.1\"\n");
    script(jdk.resolve("bin/javac"), "exit 1");
    script(jdk.resolve("bin/java"), "echo \"in $PWD\"; printf '<%s>' \"${@: -4}\"; exit 7");
    script(bin.resolve("cmake"), "echo 'cmake version 3.25.0'");
    script(bin.resolve("ninja"), "exit 1");
    script(bin.resolve("g++"), "exit 1");
    script(
        bin.resolve("mvn"),
        """
        if [[ -f native/broken.cpp ]]; then echo "[ERROR] broken.cpp: no"; exit 1; fi
        mkdir -p java/cli/target/lib
        echo build >>java/cli/target/caravan-cli-1.jar
        """);
    for (String source : List.of(".mvn", "cmake", "native", "java/core/src/test")) {
      Files.createDirectories(home.resolve(source));
    }
    environment = Map.of("JAVA_HOME", jdk.toString());
    return home;
  }

  @Test
  void aProgramIsBuiltOnceAndGetsTheArgumentsAndTheFolderOfTheCaller() throws Exception {
    Path home = fakeBuild();
    Path builds = home.resolve("java/cli/target/caravan-cli-1.jar");

    Result first = run("sft", "my recipe.yaml", "--set");
    assertEquals(
        "in " + folder.toRealPath() + "\n<dev.caravan.cli.Main><sft><my recipe.yaml><--set>",
        first.out);
    assertEquals(7, first.exit);
    assertTrue(first.err.contains(home + "/target/caravan-build.log"), first.err);

    Result second = run("sft", "my recipe.yaml", "--set");
    assertEquals(new Result(7, first.out, ""), second);
    assertEquals(1, Files.readAllLines(builds).size());

    Files.writeString(home.resolve("java/core/src/test/Some.java"), "tests are not built");
    assertEquals("", run("sft").err);
    Path source = Files.writeString(home.resolve("native/new.cpp"), "a");
    assertTrue(run("sft").err.contains("building"));
    Files.writeString(source, "b");
    Files.setLastModifiedTime(source, FileTime.fromMillis(0));
    assertTrue(run("sft").err.contains("building"), "a file changed, its date set back");
    Files.delete(source);
    assertTrue(run("sft").err.contains("building"), "a file deleted");
    assertEquals("", run("sft").err);
    assertEquals(4, Files.readAllLines(builds).size());
  }

  @Test
  void aToolThatIsTooOldIsNamed() throws Exception {
    fakeBuild();
    script(bin.resolve("cmake"), "echo 'cmake version 3.9.6'");
    Result result = run("setup");
    assertEquals(2, result.exit);
    assertTrue(result.err.contains("cmake 3.9.6 is too old, 3.25 or newer"), result.err);
  }

  @Test
  void aBuildThatFailsNamesItsLogAndIsTriedAgain() throws Exception {
    Path home = fakeBuild();
    Path broken = Files.writeString(home.resolve("native/broken.cpp"), "");
    Result result = run("plan", "x");
    assertEquals(1, result.exit);
    assertEquals("", result.out);
    assertTrue(result.err.contains("broken.cpp: no"), result.err);
    assertTrue(result.err.contains("the build failed; see " + home), result.err);
    Files.delete(broken);
    assertEquals(7, run("plan", "x").exit);
  }

  @Test
  void everyVerbOfTheOverviewHasAText() throws Exception {
    String overview = Files.readString(ROOT.resolve(HELP).resolve("caravan.txt"));
    List<String> named =
        overview
            .lines()
            .filter(line -> line.matches("  [a-z]+( RECIPE| STUDY)? {8,}.*"))
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
