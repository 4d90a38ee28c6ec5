package dev.caravan.kernels.nvidia;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.nvidia.NvidiaLibraries.Library;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The search for NVIDIA's libraries, on folders with empty files of their names. */
class LibraryFoldersTest {
  @TempDir Path root;

  private Path file(String path) throws IOException {
    Path file = root.resolve(path);
    Files.createDirectories(file.getParent());
    return Files.write(file, new byte[0]);
  }

  private List<Path> folders(Map<String, String> environment, String property) {
    return LibraryFolders.folders(environment, property, root.resolve("home").toString());
  }

  @Test
  void whatTheUserNamesComesFirstThenTheToolkitThenPython() throws IOException {
    String name = "libcublasLt.so.13";
    Path named = file("named/" + name);
    Path toolkit = file("cuda/lib64/" + name);
    Path python = file("venv/lib/python3.12/site-packages/nvidia/cu13/lib/" + name);
    Map<String, String> environment =
        Map.of(
            "CUDA_HOME", root.resolve("cuda").toString(),
            "VIRTUAL_ENV", root.resolve("venv").toString());
    String property = root.resolve("nowhere") + ":" + root.resolve("named");

    LibraryFolders all = new LibraryFolders(folders(environment, property), Map.of());
    assertEquals(Optional.of(named), all.find(name));
    LibraryFolders unnamed = new LibraryFolders(folders(environment, ""), Map.of());
    assertEquals(Optional.of(toolkit), unnamed.find(name));
    Files.delete(toolkit);
    assertEquals(Optional.of(python), unnamed.find(name));
    Files.delete(python);
    assertEquals(Optional.empty(), unnamed.find(name));
  }

  @Test
  void thePathsPythonIsLookedAt() throws IOException {
    Path python = file("tools/bin/python3");
    assertTrue(python.toFile().setExecutable(true));
    Path library = file("tools/lib/python3.11/dist-packages/nvidia/cudnn/lib/libcudnn_ops.so.9");
    Map<String, String> environment = Map.of("PATH", "/none:" + python.getParent());
    assertEquals(
        Optional.of(library),
        new LibraryFolders(folders(environment, ""), Map.of()).find("libcudnn_ops.so.9"));
  }

  @Test
  void theLinkersListIsReadByFileName() {
    Map<String, Path> known =
        LibraryFolders.parseLinkerCache(
            "2 libs found in cache `/etc/ld.so.cache'\n"
                + "\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1\n"
                + "\tlibcuda.so.1 (libc6) => /usr/lib/i386-linux-gnu/libcuda.so.1\n"
                + "\tlibz.so.1 (libc6,x86-64) => /lib/libz.so.1\n");
    assertEquals(
        Map.of(
            "libcuda.so.1", Path.of("/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
            "libz.so.1", Path.of("/lib/libz.so.1")),
        known);
  }

  @Test
  void everyFileOfALibraryIsLoadedInOrderOrTheFirstMissingOneIsNamed() throws IOException {
    LibraryFolders folders = new LibraryFolders(List.of(root), Map.of());
    List<Path> files = new ArrayList<>();
    String reason = NvidiaLibraries.locate(Library.CUBLASLT, folders, files).orElseThrow();
    assertTrue(reason.contains("libcuda.so.1"), reason);

    file("libcuda.so.1");
    file("libcudart.so.13");
    file("libcublas.so.13");
    reason = NvidiaLibraries.locate(Library.CUBLASLT, folders, new ArrayList<>()).orElseThrow();
    assertTrue(reason.startsWith("libcublasLt.so.13 was not found"), reason);
    assertTrue(reason.contains(LibraryFolders.VARIABLE), reason);

    file("libcublasLt.so.13");
    assertEquals(
        Optional.empty(), NvidiaLibraries.locate(Library.CUBLASLT, folders, files));
    assertEquals(
        List.of("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13"),
        files.stream().map(path -> path.getFileName().toString()).toList());
    assertTrue(files.stream().allMatch(Path::isAbsolute));
  }
}
