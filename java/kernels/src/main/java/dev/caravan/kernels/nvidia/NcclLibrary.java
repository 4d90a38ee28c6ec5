package dev.caravan.kernels.nvidia;

/**
 * The functions of NCCL that Caravan calls, with addresses and handles as numbers: the preset in a run,
 * a stand-in in tests. All but the last two throw {@link dev.caravan.kernels.KernelException} where the
 * library reports a failure. Source: NCCL's API reference, "Collective Communication Functions".
 */
interface NcclLibrary {
  /** Element types, as the library numbers them. */
  int INT8 = 0;

  int FLOAT32 = 7;
  int BFLOAT16 = 9;

  /** An id by which the ranks of one group find each other; one rank makes it, all use it. */
  byte[] newId();

  /** Joins a group; returns when all its ranks have. */
  long join(byte[] id, int ranks, int rank);

  void allReduce(long send, long receive, long count, int type, long group, long stream);

  /** {@code count} elements are received. */
  void reduceScatter(long send, long receive, long count, int type, long group, long stream);

  /** {@code count} elements are sent. */
  void allGather(long send, long receive, long count, int type, long group, long stream);

  void broadcast(long send, long receive, long count, int type, int root, long group, long stream);

  void send(long from, long count, int type, int peer, long group, long stream);

  void receive(long to, long count, int type, int peer, long group, long stream);

  /** Calls until {@link #endCalls} are launched as one, so that none waits for another. */
  void beginCalls();

  void endCalls();

  /** What went wrong in a group since it was joined, found without waiting; "" if nothing. */
  String failure(long group);

  /** Ends a group's exchanges, those under way too. */
  void abort(long group);

  /** Leaves a group whose exchanges are done. */
  void leave(long group);
}
