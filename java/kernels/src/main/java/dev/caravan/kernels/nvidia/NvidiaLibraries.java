package dev.caravan.kernels.nvidia;

import dev.caravan.kernels.Device;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;

/**
 * Finds and loads NVIDIA's libraries. They are not part of Caravan: they come from a CUDA toolkit or
 * from Python packages, and Caravan runs without them.
 *
 * <p>A preset that cannot be loaded stays broken for the life of the process, and without a driver
 * none can be. So a preset is touched only when our own library has found a GPU and every file that
 * the preset needs is there; each library is tried once.
 */
public final class NvidiaLibraries {
  /** The libraries that Caravan calls. */
  public enum Library {
    /** Matrix products. */
    CUBLASLT("cuBLASLt", List.of("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13")),
    /** Attention to compare with. */
    CUDNN(
        "cuDNN",
        List.of(
            "libcudart.so.13",
            "libcudnn_graph.so.9",
            "libcudnn_ops.so.9",
            "libcudnn_cnn.so.9",
            "libcudnn_adv.so.9")),
    /** Collectives. */
    NCCL("NCCL", List.of("libcudart.so.13", "libnccl.so.2"));

    private final String title;
    private final List<String> files;

    Library(String title, List<String> files) {
      this.title = title;
      this.files = files;
    }

    /** Files that must be loaded before the preset, in this order. */
    List<String> files() {
      return files;
    }

    @Override
    public String toString() {
      return title;
    }
  }

  /**
   * What became of an attempt to load a library.
   *
   * @param version as the library tells it: 130101 is 13.1.1 of cuBLASLt, 92400 is 9.24.0 of cuDNN;
   *     0 when it was not loaded
   * @param reason why not; "" when it was
   */
  public record Loaded(long version, String reason) {
    /** Whether it can be called. */
    public boolean usable() {
      return reason.isEmpty();
    }
  }

  private static final String DRIVER = "libcuda.so.1";

  /** Names another device library, as tests do: what runs there is no GPU of NVIDIA's. */
  private static final String STAND_IN = "CARAVAN_CUDA_LIBRARY";

  private static final Map<Library, Loaded> TRIED = new EnumMap<>(Library.class);

  private NvidiaLibraries() {}

  /** Loads a library, or says why it cannot be; later calls repeat the answer. */
  public static synchronized Loaded load(Library library) {
    return TRIED.computeIfAbsent(library, NvidiaLibraries::tryLoad);
  }

  private static Loaded tryLoad(Library library) {
    Device.Probe probe = Device.probe(Device.Kind.CUDA);
    if (probe.count() == 0) {
      return new Loaded(0, probe.reason());
    }
    String standIn = System.getenv(STAND_IN);
    List<Path> files = new ArrayList<>();
    Optional<String> missing =
        standIn == null
            ? locate(library, LibraryFolders.ofThisMachine(), files)
            : locateBeside(standIn, library, files);
    if (missing.isPresent()) {
      return new Loaded(0, missing.get());
    }
    try {
      for (Path file : files) {
        System.load(file.toString());
      }
      return new Loaded(version(library), "");
    } catch (UnsatisfiedLinkError | NoClassDefFoundError | ExceptionInInitializerError e) {
      return new Loaded(0, library + " cannot be loaded: " + firstLine(e));
    }
  }

  /**
   * Adds the files of a library in the order in which they are to be loaded.
   *
   * @return what is missing, and how it could be had
   */
  static Optional<String> locate(Library library, LibraryFolders folders, List<Path> files) {
    if (folders.find(DRIVER).isEmpty()) {
      return Optional.of(DRIVER + " of the NVIDIA driver was not found");
    }
    for (String name : library.files()) {
      Optional<Path> file = folders.find(name);
      if (file.isEmpty()) {
        return Optional.of(
            name
                + " was not found; it comes with a CUDA 13 toolkit or Python's CUDA 13 packages, or"
                + " set "
                + LibraryFolders.VARIABLE
                + " to its folder");
      }
      files.add(file.get().toAbsolutePath());
    }
    return Optional.empty();
  }

  /** A stand-in's libraries are stand-ins too: those beside it, the driver's among them. */
  private static Optional<String> locateBeside(
      String standIn, Library library, List<Path> files) {
    Path folder = Path.of(standIn).toAbsolutePath().getParent();
    LibraryFolders beside = new LibraryFolders(List.of(folder), Map.of());
    beside.find(DRIVER).ifPresent(files::add);
    return locate(library, beside, files)
        .map(missing -> "the device library is " + standIn + ", which has none beside it");
  }

  private static long version(Library library) {
    return switch (library) {
      case CUBLASLT -> {
        Loader.load(org.bytedeco.cuda.global.cublas.class);
        yield org.bytedeco.cuda.global.cublas.cublasLtGetVersion();
      }
      case CUDNN -> {
        Loader.load(org.bytedeco.cuda.global.cudnn.class);
        yield org.bytedeco.cuda.global.cudnn.cudnnGetVersion();
      }
      case NCCL -> {
        Loader.load(org.bytedeco.cuda.global.nccl.class);
        int[] version = new int[1];
        int status = org.bytedeco.cuda.global.nccl.ncclGetVersion(version);
        if (status != 0) {
          throw new UnsatisfiedLinkError("ncclGetVersion: status " + status);
        }
        yield version[0];
      }
    };
  }

  private static String firstLine(Throwable e) {
    Throwable root = e;
    while (root.getCause() != null) {
      root = root.getCause();
    }
    String message = root.getMessage() == null ? root.toString() : root.getMessage();
    return message.lines().findFirst().orElse("");
  }
}
