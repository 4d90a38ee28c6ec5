package dev.caravan.train;

/**
 * The pieces in which ranks put together a weight of which each has a part. Where a part's runs fit, as of
 * columns, a piece is as many whole runs of every rank; of longer runs, a stretch of one, which one rank has.
 *
 * @param ranks that have a part each
 * @param count elements of a part
 * @param run elements of a part that lie behind one another in the whole weight
 * @param room elements of a part that a piece may have
 */
record PartPieces(int ranks, long count, long run, long room) {
  /**
   * A piece of a weight.
   *
   * @param root who has it; of whole runs, all do
   * @param first its first element in each rank's part
   * @param count elements in each part that has some
   * @param place its first element in the whole weight
   * @param length elements in the whole weight
   */
  record Piece(int root, long first, long count, long place, long length) {}

  /** Elements of a part in a piece at the most. */
  long most() {
    return Math.min(count, together() ? room / run * run : room);
  }

  /** Whether pieces are whole runs of every rank. */
  boolean together() {
    return run <= room;
  }

  /** Pieces of a run that is longer than one. */
  private long ofRun() {
    return (run + most() - 1) / most();
  }

  /** The number of the piece that holds an element of the whole weight. */
  int number(long place) {
    return Math.toIntExact(
        together() ? place / (most() * ranks) : place / run * ofRun() + place % run / most());
  }

  Piece piece(int number) {
    if (together()) {
      long first = number * most();
      long each = Math.min(most(), count - first);
      return new Piece(0, first, each, first * ranks, each * ranks);
    }
    long which = number / ofRun(); // of the runs of all ranks
    long from = number % ofRun() * most();
    long each = Math.min(most(), run - from);
    int root = Math.toIntExact(which % ranks);
    return new Piece(root, which / ranks * run + from, each, which * run + from, each);
  }
}
