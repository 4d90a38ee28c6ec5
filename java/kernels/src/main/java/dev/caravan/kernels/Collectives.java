package dev.caravan.kernels;

/**
 * One rank's end of its groups. All ranks of a group give the same exchanges in the same order.
 * Exchanges of an axis run one after another, beside the work of the stream that they were given
 * with.
 */
public interface Collectives extends AutoCloseable {
  /** The only rank: groups of one, which exchange nothing. */
  Collectives ALONE =
      new Collectives() {
        @Override
        public int size(Collective.Axis axis) {
          return 1;
        }

        @Override
        public int rank(Collective.Axis axis) {
          return 0;
        }

        @Override
        public long begin(Stream stream, Collective collective) {
          throw KernelException.invalid(collective + ": there is one rank only");
        }

        @Override
        public void join(Stream stream, Collective.Axis axis, long ticket) {}

        @Override
        public void sum(Collective.Axis axis, double[] values) {}
      };

  /** Ranks of a group. */
  int size(Collective.Axis axis);

  /** This rank's place in its group, from 0. */
  int rank(Collective.Axis axis);

  /**
   * Begins an exchange, behind the work that the stream was given so far. Does not wait for it.
   *
   * @return its number on its axis, for {@link #join}
   */
  long begin(Stream stream, Collective collective);

  /**
   * Lets work that is given to the stream from now on wait for an exchange and those begun before it.
   *
   * @param ticket its number
   */
  void join(Stream stream, Collective.Axis axis, long ticket);

  /** The same for all exchanges begun on an axis. */
  default void join(Stream stream, Collective.Axis axis) {
    join(stream, axis, Long.MAX_VALUE);
  }

  /**
   * Sums small numbers of the host over a group, in place; every rank gets the same bits. Waits.
   *
   * @param values as many on every rank
   */
  void sum(Collective.Axis axis, double[] values);

  /** Waits until all ranks are here. */
  default void barrier() {
    sum(Collective.Axis.WORLD, new double[1]);
  }

  /** What the rank is at, for errors: the optimizer step. */
  default void at(long step) {}

  /** What does the exchanges of tensors in place of the group that the rank came by. */
  interface Carrier {
    /** What the rank is in, for errors. */
    String position();

    /** Ends all exchanges of this rank, those under way too; from any thread. */
    void abort(String reason);
  }

  /**
   * From now on the exchanges are another's, as of ranks that met by the host and exchange by their GPUs:
   * it says where the rank is, and is told when another rank has failed.
   */
  default void carriedBy(Carrier carrier) {}

  /** Ends its threads and gives its memory back. */
  @Override
  default void close() {}
}
