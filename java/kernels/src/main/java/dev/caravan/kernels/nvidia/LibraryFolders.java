package dev.caravan.kernels.nvidia;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * Where shared libraries of NVIDIA may lie: folders that the user names, a CUDA toolkit, what the
 * dynamic linker knows, and the folders that Python packages put them in.
 */
final class LibraryFolders {
  /** Property with folders of NVIDIA's libraries, separated by colons; they are looked at first. */
  static final String PROPERTY = "caravan.cuda.libs";

  /** Environment variable that means the same. */
  static final String VARIABLE = "CARAVAN_CUDA_LIBS";

  private static final int LDCONFIG_SECONDS = 5;

  private final List<Path> folders;
  private final Map<String, Path> linker;

  /**
   * @param folders looked at in this order
   * @param linker what the dynamic linker's cache knows, by file name
   */
  LibraryFolders(List<Path> folders, Map<String, Path> linker) {
    this.folders = List.copyOf(folders);
    this.linker = Map.copyOf(linker);
  }

  /** Those of this machine. */
  static LibraryFolders ofThisMachine() {
    return new LibraryFolders(
        folders(System.getenv(), System.getProperty(PROPERTY, ""), System.getProperty("user.home")),
        linkerCache());
  }

  /** The file of that name; folders come before the linker's cache. */
  Optional<Path> find(String file) {
    for (Path folder : folders) {
      Path path = folder.resolve(file);
      if (Files.isRegularFile(path)) {
        return Optional.of(path);
      }
    }
    return Optional.ofNullable(linker.get(file));
  }

  /** The folders to look at, in order, each once; they need not exist. */
  static List<Path> folders(Map<String, String> environment, String property, String home) {
    Set<Path> folders = new LinkedHashSet<>();
    addAll(folders, property);
    addAll(folders, environment.get(VARIABLE));
    for (String root : new String[] {"CUDA_HOME", "CUDA_PATH"}) {
      String toolkit = environment.getOrDefault(root, "");
      if (!toolkit.isEmpty()) {
        folders.add(Path.of(toolkit, "lib64"));
        folders.add(Path.of(toolkit, "targets/x86_64-linux/lib"));
      }
    }
    addAll(folders, environment.get("LD_LIBRARY_PATH"));
    folders.add(Path.of("/usr/local/cuda/lib64"));
    for (Path python : pythonRoots(environment, home)) {
      for (Path version : matches(python, "python3*")) {
        for (String packages : new String[] {"site-packages", "dist-packages"}) {
          for (Path one : matches(version.resolve(packages).resolve("nvidia"), "*")) {
            folders.add(one.resolve("lib"));
          }
        }
      }
    }
    return List.copyOf(folders);
  }

  /** Folders that hold python3* folders: of active environments, of the path's Python, the usual. */
  private static List<Path> pythonRoots(Map<String, String> environment, String home) {
    List<Path> roots = new ArrayList<>();
    for (String variable : new String[] {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
      String prefix = environment.getOrDefault(variable, "");
      if (!prefix.isEmpty()) {
        roots.add(Path.of(prefix, "lib"));
      }
    }
    for (String folder : environment.getOrDefault("PATH", "").split(File.pathSeparator)) {
      Path python = Path.of(folder, "python3");
      if (!folder.isEmpty() && Files.isExecutable(python)) {
        roots.add(python.resolve("../../lib").normalize());
      }
    }
    roots.add(Path.of(home, ".local/lib"));
    roots.add(Path.of("/usr/local/lib"));
    roots.add(Path.of("/usr/lib"));
    return roots;
  }

  private static void addAll(Set<Path> folders, String list) {
    if (list != null) {
      for (String folder : list.split(File.pathSeparator)) {
        if (!folder.isEmpty()) {
          folders.add(Path.of(folder));
        }
      }
    }
  }

  private static List<Path> matches(Path folder, String glob) {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, glob)) {
      entries.forEach(found::add);
    } catch (IOException | DirectoryIteratorException e) {
      return List.of();
    }
    found.sort(null);
    return found;
  }

  private static Map<String, Path> linkerCache() {
    try {
      Process listing =
          new ProcessBuilder("/sbin/ldconfig", "-p")
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      String text = new String(listing.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      listing.waitFor(LDCONFIG_SECONDS, TimeUnit.SECONDS);
      return parseLinkerCache(text);
    } catch (IOException e) {
      return Map.of(); // a system without it: the folders remain
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Map.of();
    }
  }

  /** Lines such as "libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6"; the first counts. */
  static Map<String, Path> parseLinkerCache(String text) {
    Map<String, Path> files = new java.util.HashMap<>();
    for (String line : text.split("\n")) {
      int arrow = line.indexOf(" => ");
      int name = line.indexOf(" (");
      if (arrow > 0 && name > 0 && line.substring(name, arrow).contains("x86-64")) {
        files.putIfAbsent(
            line.substring(0, name).strip(), Path.of(line.substring(arrow + 4).strip()));
      }
    }
    return files;
  }
}
