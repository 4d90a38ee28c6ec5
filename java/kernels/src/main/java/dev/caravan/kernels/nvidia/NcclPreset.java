package dev.caravan.kernels.nvidia;

import static org.bytedeco.cuda.global.nccl.NCCL_UNIQUE_ID_BYTES;
import static org.bytedeco.cuda.global.nccl.ncclAllGather;
import static org.bytedeco.cuda.global.nccl.ncclAllReduce;
import static org.bytedeco.cuda.global.nccl.ncclBroadcast;
import static org.bytedeco.cuda.global.nccl.ncclCommAbort;
import static org.bytedeco.cuda.global.nccl.ncclCommDestroy;
import static org.bytedeco.cuda.global.nccl.ncclCommGetAsyncError;
import static org.bytedeco.cuda.global.nccl.ncclCommInitRank;
import static org.bytedeco.cuda.global.nccl.ncclGetErrorString;
import static org.bytedeco.cuda.global.nccl.ncclGetLastError;
import static org.bytedeco.cuda.global.nccl.ncclGetUniqueId;
import static org.bytedeco.cuda.global.nccl.ncclGroupEnd;
import static org.bytedeco.cuda.global.nccl.ncclGroupStart;
import static org.bytedeco.cuda.global.nccl.ncclInProgress;
import static org.bytedeco.cuda.global.nccl.ncclRecv;
import static org.bytedeco.cuda.global.nccl.ncclReduceScatter;
import static org.bytedeco.cuda.global.nccl.ncclSend;
import static org.bytedeco.cuda.global.nccl.ncclSuccess;
import static org.bytedeco.cuda.global.nccl.ncclSum;

import dev.caravan.kernels.KernelException;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** NCCL itself. Only to be touched when {@link NvidiaLibraries} has loaded it. */
final class NcclPreset implements NcclLibrary {
  @Override
  public byte[] newId() {
    try (ncclUniqueId id = new ncclUniqueId()) {
      check("ncclGetUniqueId", ncclGetUniqueId(id));
      byte[] bytes = new byte[NCCL_UNIQUE_ID_BYTES];
      new BytePointer(id).get(bytes);
      return bytes;
    }
  }

  @Override
  public long join(byte[] id, int ranks, int rank) {
    try (ncclUniqueId known = new ncclUniqueId()) {
      new BytePointer(known).put(id);
      ncclComm group = new ncclComm();
      check("ncclCommInitRank", ncclCommInitRank(group, ranks, known, rank));
      return group.address();
    }
  }

  @Override
  public void allReduce(long send, long receive, long count, int type, long group, long stream) {
    check(
        "ncclAllReduce",
        ncclAllReduce(
            at(send), at(receive), count, type, ncclSum, group(group), stream(stream)));
  }

  @Override
  public void reduceScatter(
      long send, long receive, long count, int type, long group, long stream) {
    check(
        "ncclReduceScatter",
        ncclReduceScatter(
            at(send), at(receive), count, type, ncclSum, group(group), stream(stream)));
  }

  @Override
  public void allGather(long send, long receive, long count, int type, long group, long stream) {
    check(
        "ncclAllGather",
        ncclAllGather(at(send), at(receive), count, type, group(group), stream(stream)));
  }

  @Override
  public void broadcast(
      long send, long receive, long count, int type, int root, long group, long stream) {
    check(
        "ncclBroadcast",
        ncclBroadcast(at(send), at(receive), count, type, root, group(group), stream(stream)));
  }

  @Override
  public void send(long from, long count, int type, int peer, long group, long stream) {
    check("ncclSend", ncclSend(at(from), count, type, peer, group(group), stream(stream)));
  }

  @Override
  public void receive(long to, long count, int type, int peer, long group, long stream) {
    check("ncclRecv", ncclRecv(at(to), count, type, peer, group(group), stream(stream)));
  }

  @Override
  public void beginCalls() {
    check("ncclGroupStart", ncclGroupStart());
  }

  @Override
  public void endCalls() {
    check("ncclGroupEnd", ncclGroupEnd());
  }

  @Override
  public String failure(long group) {
    int[] status = new int[1];
    int asked = ncclCommGetAsyncError(group(group), status);
    int found = asked == ncclSuccess ? status[0] : asked;
    if (found == ncclSuccess || found == ncclInProgress) {
      return "";
    }
    BytePointer last = ncclGetLastError(group(group));
    String detail = last == null || last.isNull() ? "" : last.getString();
    return words(found) + (detail.isBlank() ? "" : ": " + detail.strip());
  }

  @Override
  public void abort(long group) {
    ncclCommAbort(group(group)); // it is given up, whatever the answer
  }

  @Override
  public void leave(long group) {
    ncclCommDestroy(group(group));
  }

  private static void check(String function, int status) {
    if (status != ncclSuccess && status != ncclInProgress) {
      throw KernelException.lost(function + ": " + words(status));
    }
  }

  private static String words(int status) {
    return ncclGetErrorString(status).getString() + " (" + status + ")";
  }

  private static Pointer at(long address) {
    return new CublasLt.Address(address);
  }

  private static ncclComm group(long handle) {
    return new ncclComm(new CublasLt.Address(handle));
  }

  private static CUstream_st stream(long handle) {
    return new CUstream_st(new CublasLt.Address(handle));
  }
}
