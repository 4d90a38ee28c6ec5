package dev.caravan.kernels.presets;

import org.bytedeco.javacpp.annotation.NoException;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.tools.Info;
import org.bytedeco.javacpp.tools.InfoMap;
import org.bytedeco.javacpp.tools.InfoMapper;

/**
 * How {@code caravan.h} becomes the package {@code dev.caravan.kernels.abi}, at each build:
 * functions and constants in {@code Caravan}, every args struct a class of its C name.
 *
 * <p>Addresses, of host and device memory alike, and handles are plain {@code long}s. A typed
 * pointer would be an object a call, and its array overload would copy the array.
 */
@Properties(
    value =
        @Platform(
            value = "linux-x86_64",
            compiler = "cpp17",
            include = "caravan/caravan.h",
            link = "caravan",
            preload = "caravan_cuda"),
    target = "dev.caravan.kernels.abi",
    global = "dev.caravan.kernels.abi.Caravan")
@NoException
public class caravan implements InfoMapper {
  @Override
  public void map(InfoMap infos) {
    infos.put(new Info("CARAVAN_API", "CARAVAN_CARAVAN_H_").cppTypes().annotations());
    address(infos, "void", "void");
    address(infos, "float", "float");
    address(infos, "int32_t", "int");
    address(infos, "int64_t", "long");
    address(infos, "uint64_t", "long");
    for (String handle : new String[] {"stream", "event", "graph"}) {
      infos.put(new Info("caravan_" + handle).cast().valueTypes("long").pointerTypes("long"));
      infos.put(new Info("caravan_" + handle + "_s").skip());
    }
    infos.put(new Info("caravan_sgemm").skip());
    // JavaCPP's structs have a capacity of their own.
    infos.put(new Info("caravan_expert_sort_args::capacity").javaNames("expert_capacity"));
  }

  /** A pointer to {@code cType} is a long; a value of it is {@code javaType}. */
  private static void address(InfoMap infos, String cType, String javaType) {
    infos.put(new Info(cType).cast().valueTypes(javaType).pointerTypes("long"));
  }
}
