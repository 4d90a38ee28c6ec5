package dev.caravan.kernels.nvidia;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Library;
import dev.caravan.kernels.nvidia.NvidiaLibraries.Loaded;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Loading NVIDIA's libraries where they may be missing, and with them the driver. */
class NvidiaLibrariesTest {
  @ParameterizedTest
  @EnumSource(Library.class)
  void aLibraryIsUsableOrThereIsAReasonAndTheAnswerStays(Library library) {
    Loaded first = NvidiaLibraries.load(library);
    assertEquals(first.usable(), first.reason().isEmpty());
    assertEquals(first.usable(), first.version() > 0);
    assertSame(first, NvidiaLibraries.load(library));
    if (Device.probe(Device.Kind.CUDA).count() == 0) {
      assertFalse(first.usable());
      assertEquals(Device.probe(Device.Kind.CUDA).reason(), first.reason());
    }
  }

  /**
   * A preset that failed to load would stay broken, so without a driver none is even begun. In a process
   * of its own, whose loaded classes are listed.
   */
  @Test
  void withoutALibraryNoPresetIsTouched(@TempDir Path folder) throws Exception {
    Path classes = folder.resolve("classes.log");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                "-Xlog:class+load:file=" + classes,
                "-cp",
                System.getProperty("java.class.path"),
                LoadsAll.class.getName())
            .redirectErrorStream(true)
            .start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), said);
    String list = Files.readString(classes);
    assertTrue(list.contains(NvidiaLibraries.class.getName()), "the log lists classes");
    for (Library library : Library.values()) {
      boolean usable = said.contains(library + " usable");
      assertEquals(usable, list.contains("org.bytedeco.cuda.global." + preset(library)), said);
    }
  }

  private static String preset(Library library) {
    return library == Library.CUBLASLT ? "cublas" : library.name().toLowerCase(Locale.ROOT);
  }

  /** Tries every library and says what became of it. */
  public static final class LoadsAll {
    private LoadsAll() {}

    /** The program. */
    public static void main(String[] args) {
      for (Library library : Library.values()) {
        Loaded loaded = NvidiaLibraries.load(library);
        System.out.println(library + (loaded.usable() ? " usable" : ": " + loaded.reason()));
      }
    }
  }

  @Test
  void theCpuHasNoVendorsProducts() {
    List<String> reasons = new ArrayList<>();
    try (Stream stream = Stream.open(Device.CPU, 1)) {
      assertTrue(CublasLt.open(stream, reasons::add).isEmpty());
      assertEquals(0, stream.nativeHandle());
    }
    assertEquals(1, reasons.size());
  }

  @Test
  void versionsAreSaidInWords() {
    assertEquals("cuBLASLt 13.1.1", CublasLt.describe(130101));
  }
}
