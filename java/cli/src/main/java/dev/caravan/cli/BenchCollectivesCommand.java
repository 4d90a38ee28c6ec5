package dev.caravan.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.bench.CollectivesBench;
import dev.caravan.bench.CollectivesBench.Row;
import dev.caravan.bench.KernelTable;
import dev.caravan.data.UserError;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Device;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.DeviceCollectives;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan bench collectives}: time of exchanges between ranks. */
@Command(name = "collectives")
final class BenchCollectivesCommand implements Callable<Integer> {
  private static final long MEGABYTE = 1 << 20;

  @Mixin DeviceOptions device;

  @Option(names = "--ranks", paramLabel = "N")
  int ranks = 1;

  @Option(names = "--megabytes", paramLabel = "N", split = ",")
  List<Integer> megabytes = List.of(1, 16, 256);

  @Option(names = "--json")
  boolean json;

  @Override
  public Integer call() {
    if (ranks < 1) {
      throw new UserError("--ranks: got " + ranks + ", needs a whole number of at least 1");
    }
    for (int size : megabytes) {
      if (size < 1 || size > 1024) {
        throw new UserError("--megabytes: got " + size + ", needs 1 to 1024");
      }
    }
    List<Long> sizes = megabytes.stream().map(size -> size * MEGABYTE).toList();
    DeviceChoice choice = device.choose();
    String library = choice.device().kind() == Device.Kind.CPU ? "threads" : "NCCL";
    List<Row> rows = measure(choice, sizes);
    if (json) {
      System.out.println(toJson(choice, library, rows));
    } else {
      print(rows);
    }
    return Main.DONE;
  }

  private List<Row> measure(DeviceChoice choice, List<Long> sizes) {
    if (choice.device().kind() == Device.Kind.CPU) {
      return RankThreads.run(
          new Mesh(ranks, 1),
          group -> {
            try (var stream = dev.caravan.kernels.Stream.open(choice.device(), 1)) {
              return CollectivesBench.run(group, stream, sizes);
            }
          });
    }
    if (ranks > 1) {
      List<Device> devices = choice.ofRanks(ranks);
      return RankThreads.run(
          new Mesh(ranks, 1),
          met -> {
            Device own = devices.get(met.rank(Axis.WORLD));
            try (var stream = dev.caravan.kernels.Stream.open(own, 1);
                var group = DeviceCollectives.join(stream, met).orElseThrow()) {
              return CollectivesBench.run(group, stream, sizes);
            }
          });
    }
    try (var stream = dev.caravan.kernels.Stream.open(choice.device(), 1);
        var group = DeviceCollectives.alone(stream, Axis.WORLD)) {
      return CollectivesBench.run(group, stream, sizes);
    }
  }

  private void print(List<Row> rows) {
    List<List<String>> table = new ArrayList<>();
    table.add(
        List.of("exchange, ranks: " + ranks, "bytes", "microseconds", "GB/s", "bus GB/s"));
    for (Row row : rows) {
      table.add(
          List.of(
              row.kind().toString(),
              String.format(Locale.ROOT, "%,d", row.bytes()),
              String.format(Locale.ROOT, "%.1f", row.seconds() * 1e6),
              String.format(Locale.ROOT, "%.2f", row.bytesPerSecond() * 1e-9),
              String.format(Locale.ROOT, "%.2f", row.busBytesPerSecond() * 1e-9)));
    }
    KernelTable.markdown(table, 1).forEach(System.out::println);
  }

  private ObjectNode toJson(DeviceChoice choice, String library, List<Row> rows) {
    ObjectNode out = JsonNodeFactory.instance.objectNode();
    out.put("bench", "collectives").put("device", choice.device().toString());
    out.put("device_name", choice.device().name()).put("library", library).put("ranks", ranks);
    ArrayNode list = out.putArray("rows");
    for (Row row : rows) {
      list.addObject()
          .put("kind", row.kind().toString())
          .put("bytes", row.bytes())
          .put("seconds", row.seconds())
          .put("bytes_per_s", row.bytesPerSecond())
          .put("bus_bytes_per_s", row.busBytesPerSecond());
    }
    return out;
  }
}
