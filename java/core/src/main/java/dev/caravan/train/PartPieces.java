package dev.caravan.train;

/**
 * The pieces in which ranks put together a weight of which each has a part. Groups of ranks, which
 * share the experts, have one stretch of it after another; a piece is within one. Where the runs of
 * the ranks of a group fit, as of columns, a piece is as many whole runs of every rank; of longer
 * runs, or of one rank, a stretch of one, which one rank has.
 *
 * @param groups of ranks
 * @param ranks of a group, that have a part each
 * @param count elements of a part
 * @param run elements of a part that lie behind one another in the whole weight
 * @param room elements of a part that a piece may have
 */
record PartPieces(int groups, int ranks, long count, long run, long room) {
  /**
   * A piece of a weight.
   *
   * @param group whose it is
   * @param root who of the group has it; of whole runs, all do
   * @param first its first element in each rank's part
   * @param count elements in each part that has some
   * @param place its first element in the whole weight
   * @param length elements in the whole weight
   */
  record Piece(int group, int root, long first, long count, long place, long length) {}

  /** Elements of a part in a piece at the most. */
  long most() {
    return Math.min(count, together() ? room / run * run : room);
  }

  /** Whether pieces are whole runs of every rank. */
  boolean together() {
    return ranks > 1 && run <= room;
  }

  /** Pieces of a run that is longer than one. */
  private long ofRun() {
    return (run + most() - 1) / most();
  }

  /** Pieces of a group. */
  private long ofGroup() {
    return together() ? (count + most() - 1) / most() : count / run * ranks * ofRun();
  }

  /** Elements of the whole weight that a group has. */
  private long share() {
    return ranks * count;
  }

  /** The number of the piece that holds an element of the whole weight. */
  int number(long place) {
    long at = place % share();
    long within = together() ? at / (most() * ranks) : at / run * ofRun() + at % run / most();
    return Math.toIntExact(place / share() * ofGroup() + within);
  }

  Piece piece(int number) {
    int group = Math.toIntExact(number / ofGroup());
    long within = number % ofGroup();
    long start = group * share();
    if (together()) {
      long first = within * most();
      long each = Math.min(most(), count - first);
      return new Piece(group, 0, first, each, start + first * ranks, each * ranks);
    }
    long which = within / ofRun(); // of the runs of the group's ranks
    long from = within % ofRun() * most();
    long each = Math.min(most(), run - from);
    int root = Math.toIntExact(which % ranks);
    return new Piece(
        group, root, which / ranks * run + from, each, start + which * run + from, each);
  }
}
