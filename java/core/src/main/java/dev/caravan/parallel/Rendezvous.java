package dev.caravan.parallel;

import dev.caravan.data.UserError;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Which of several processes this one is, and where they meet, as launchers tell by environment
 * variables.
 *
 * @param launcher whose variables they are, for people
 * @param rank of the process, from 0
 * @param size how many processes
 * @param host where rank 0 listens; "" where a file tells
 * @param port of it; 0 where a file tells
 * @param file that rank 0 writes its address to; empty where it is known
 */
public record Rendezvous(
    String launcher, int rank, int size, String host, int port, Optional<Path> file) {
  /** Where processes meet, whoever launched them: {@code HOST:PORT} or {@code file:PATH}. */
  public static final String PLACE = "CARAVAN_RENDEZVOUS";

  private static final int FIRST_PORT = 20_000;
  private static final int PORTS = 20_000;
  private static final int DEFAULT_PORT = 29_500; // torchrun's

  /** Variables of a launcher: its name, the rank, the number of processes, the rank on this node. */
  private record Convention(String launcher, String rank, String size, String local) {}

  private static final Convention[] CONVENTIONS = {
    new Convention("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    new Convention(
        "mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    new Convention("srun", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
  };

  /**
   * Reads the variables.
   *
   * @return empty where there is one process
   * @throws UserError if they contradict each other or do not say where to meet
   */
  public static Optional<Rendezvous> of(Map<String, String> environment) {
    for (Convention c : CONVENTIONS) {
      if (environment.containsKey(c.rank) && environment.containsKey(c.size)) {
        int rank = number(environment, c.rank);
        int size = number(environment, c.size);
        if (size < 1 || rank < 0 || rank >= size) {
          throw new UserError(
              "%s=%d, %s=%d: needs a rank from 0 below the size".formatted(c.rank, rank, c.size, size));
        }
        return size == 1
            ? Optional.empty()
            : Optional.of(place(c.launcher, rank, size, environment));
      }
    }
    return Optional.empty();
  }

  /**
   * This process's number among those on its node, from 0; empty where no launcher tells it.
   *
   * @throws UserError if it is no number
   */
  public static OptionalInt localRank(Map<String, String> environment) {
    for (Convention c : CONVENTIONS) {
      if (environment.containsKey(c.rank) && environment.containsKey(c.size)) {
        if (!environment.containsKey(c.local)) {
          return OptionalInt.empty();
        }
        int local = number(environment, c.local);
        if (local < 0) {
          throw new UserError(c.local + "=" + local + ": needs a number from 0");
        }
        return OptionalInt.of(local);
      }
    }
    return OptionalInt.empty();
  }

  /**
   * The same meeting of ranks, of which every process has equally many.
   *
   * @param own number of a rank of this process
   * @param all how many ranks
   */
  Rendezvous ofRank(int own, int all) {
    return new Rendezvous(launcher, own, all, host, port, file);
  }

  private static int number(Map<String, String> environment, String name) {
    try {
      return Integer.parseInt(environment.get(name).trim());
    } catch (NumberFormatException e) {
      throw new UserError(name + "=" + environment.get(name) + ": needs a whole number", e);
    }
  }

  private static Rendezvous place(
      String launcher, int rank, int size, Map<String, String> environment) {
    String place = environment.get(PLACE);
    if (place != null && place.startsWith("file:")) {
      Optional<Path> file = Optional.of(Path.of(place.substring("file:".length())));
      return new Rendezvous(launcher, rank, size, "", 0, file);
    }
    if (place != null) {
      int colon = place.lastIndexOf(':');
      if (colon < 1 || !place.substring(colon + 1).matches("[0-9]{1,5}")) {
        throw new UserError(PLACE + "=" + place + ": needs HOST:PORT or file:PATH");
      }
      int port = Integer.parseInt(place.substring(colon + 1));
      return new Rendezvous(
          launcher, rank, size, place.substring(0, colon), port, Optional.empty());
    }
    String host = environment.get("MASTER_ADDR");
    int port = environment.containsKey("MASTER_PORT") ? number(environment, "MASTER_PORT") : 0;
    if (launcher.equals("srun")) {
      String job = environment.getOrDefault("SLURM_JOB_ID", "0").replaceAll("[^0-9]", "");
      host = host != null ? host : firstHost(environment.get("SLURM_JOB_NODELIST"));
      port = port != 0 ? port : FIRST_PORT + (int) (Long.parseLong("0" + job) % PORTS);
    }
    if (host == null) {
      throw new UserError(
          launcher
              + " started "
              + size
              + " processes, but nothing says where they meet: set MASTER_ADDR and MASTER_PORT, or "
              + PLACE
              + " to HOST:PORT or file:PATH");
    }
    return new Rendezvous(
        launcher, rank, size, host, port == 0 ? DEFAULT_PORT : port, Optional.empty());
  }

  /** The first of Slurm's list of hosts, as in "node[03-07,11],other": "node03". */
  private static String firstHost(String list) {
    if (list == null) {
      return null;
    }
    Matcher first = Pattern.compile("([^,\\[]+)(?:\\[([0-9]+)[^\\]]*\\])?.*").matcher(list);
    if (!first.matches()) {
      throw new UserError("SLURM_JOB_NODELIST=" + list + ": needs a list of hosts");
    }
    return first.group(1) + (first.group(2) == null ? "" : first.group(2));
  }
}
