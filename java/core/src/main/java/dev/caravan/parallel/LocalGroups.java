package dev.caravan.parallel;

import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The groups whose ranks are all threads of this process; the first rank that asks for one makes it. */
final class LocalGroups {
  private final int first;
  private final int count;
  private final Duration patience;
  private final Map<Axis, Map<List<Integer>, LocalGroup>> groups = new EnumMap<>(Axis.class);

  /**
   * @param first of this process's ranks, which follow each other
   * @param count how many there are
   * @param patience how long a rank waits for the others
   */
  LocalGroups(int first, int count, Duration patience) {
    this.first = first;
    this.count = count;
    this.patience = patience;
  }

  /** The first of this process's ranks. */
  int first() {
    return first;
  }

  /**
   * A rank's end of a group; empty where some of its ranks are in other processes.
   *
   * @param ranks of the group, by their places in it
   */
  synchronized Optional<Transport> member(Axis axis, List<Integer> ranks, int rank) {
    if (!ranks.stream().allMatch(other -> other >= first && other < first + count)) {
      return Optional.empty();
    }
    LocalGroup group =
        groups
            .computeIfAbsent(axis, its -> new HashMap<>())
            .computeIfAbsent(ranks, its -> new LocalGroup(axis, its, patience));
    return Optional.of(group.member(rank));
  }

  /**
   * The ends of all ranks of a mesh that are in one process.
   *
   * @param patience how long a rank waits for the others
   */
  static List<Collectives> all(Mesh mesh, Duration patience) {
    LocalGroups groups = new LocalGroups(0, mesh.size(), patience);
    List<Collectives> ends = new ArrayList<>();
    for (int rank = 0; rank < mesh.size(); rank++) {
      Map<Axis, Transport> transports = new EnumMap<>(Axis.class);
      for (Axis axis : Axis.values()) {
        transports.put(axis, groups.member(axis, mesh.group(axis, rank), rank).orElseThrow());
      }
      ends.add(new RankCollectives(transports));
    }
    return ends;
  }
}
