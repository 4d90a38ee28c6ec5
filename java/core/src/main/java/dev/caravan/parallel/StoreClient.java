package dev.caravan.parallel;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;

/** A connection to the {@link TcpStore}: one request at a time. */
final class StoreClient implements AutoCloseable {
  private static final int CONNECT_MILLIS = 2000;

  private final Socket socket;
  private final DataInputStream in;
  private final DataOutputStream out;

  StoreClient(String host, int port) throws IOException {
    socket = new Socket();
    socket.connect(new InetSocketAddress(host, port), CONNECT_MILLIS);
    socket.setTcpNoDelay(true);
    in = new DataInputStream(socket.getInputStream());
    out = new DataOutputStream(socket.getOutputStream());
  }

  /** The address by which this process reaches the store, and others can reach it. */
  String address() {
    return socket.getLocalAddress().getHostAddress();
  }

  synchronized void hello(int rank, String host) throws IOException {
    out.writeByte(TcpStore.HELLO);
    out.writeInt(rank);
    out.writeUTF(host);
    out.flush();
  }

  synchronized void set(String name, String value) throws IOException {
    out.writeByte(TcpStore.SET);
    out.writeUTF(name);
    out.writeUTF(value);
    out.flush();
  }

  /** A value, waited for; "" if it does not come in time or the run has failed. */
  synchronized String get(String name, long millis) throws IOException {
    out.writeByte(TcpStore.GET);
    out.writeUTF(name);
    out.writeLong(millis);
    out.flush();
    return in.readUTF();
  }

  /** Says that this process lives and where it is; gives why the run failed, or "". */
  synchronized String beat(String position) throws IOException {
    out.writeByte(TcpStore.BEAT);
    out.writeUTF(position);
    out.flush();
    return in.readUTF();
  }

  synchronized void fail(String reason) throws IOException {
    out.writeByte(TcpStore.FAIL);
    out.writeUTF(reason.length() > 8000 ? reason.substring(0, 8000) : reason);
    out.flush();
  }

  synchronized void bye() throws IOException {
    out.writeByte(TcpStore.BYE);
    out.flush();
  }

  @Override
  public void close() {
    try {
      socket.close();
    } catch (IOException e) {
      // It ends with the process at the latest.
    }
  }
}
