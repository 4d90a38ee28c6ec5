package dev.caravan.train.log;

import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.UserError;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * A TensorBoard event file of scalars.
 *
 * <p>The file is a sequence of TFRecords: length (8 bytes, little-endian), masked CRC-32C of the
 * length, payload, masked CRC-32C of the payload. Each payload is an {@code Event} message in
 * protocol-buffer encoding; only the fields below are used. Sources: TensorFlow's record_writer.h,
 * crc32c.h, event.proto and summary.proto.
 */
public final class TensorBoardWriter implements AutoCloseable {
  // Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log.
  // Summary: 1 repeated Value {1 tag string, 2 simple_value float}. SessionLog: 1 status, START =
  // 1.
  private static final int EVENT_WALL_TIME = 1;
  private static final int EVENT_STEP = 2;
  private static final int EVENT_FILE_VERSION = 3;
  private static final int EVENT_SUMMARY = 5;
  private static final int EVENT_SESSION_LOG = 7;
  private static final int SUMMARY_VALUE = 1;
  private static final int VALUE_TAG = 1;
  private static final int VALUE_SIMPLE = 2;
  private static final int SESSION_STATUS = 1;
  private static final int SESSION_START = 1;

  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;
  private static final int CRC_MASK = 0xa282ead8;

  private final Path file;
  private final OutputStream out;
  private final ByteBuffer message = buffer(512);
  private final ByteBuffer event = buffer(1024);

  /**
   * Starts an event file. TensorBoard joins the files of one folder; the start is marked with the
   * resumed step, so that it drops later points of a run that died past its last checkpoint.
   *
   * @param folder the run folder
   * @param resumedStep optimizer steps done before; 0 for a fresh start
   * @throws UserError if the file cannot be written
   */
  public TensorBoardWriter(Path folder, int resumedStep) {
    long millis = System.currentTimeMillis();
    file =
        folder.resolve(
            "events.out.tfevents.%010d.caravan.%d"
                .formatted(millis / 1000, ProcessHandle.current().pid()));
    try {
      out = Files.newOutputStream(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    } catch (IOException e) {
      throw failure(e);
    }
    begin(0);
    bytes(event, EVENT_FILE_VERSION, "brain.Event:2".getBytes(StandardCharsets.UTF_8));
    end();
    begin(resumedStep + 1);
    message.clear();
    tag(message, SESSION_STATUS, VARINT);
    varint(message, SESSION_START);
    nested(event, EVENT_SESSION_LOG, message);
    end();
  }

  /** Writes the curves of a step: loss, grad_norm, lr, tokens_per_s, data_wait_share. */
  public void write(StepMetrics m) {
    begin(m.step());
    scalar("train/loss", m.loss());
    scalar("train/grad_norm", m.gradNorm());
    scalar("train/lr", m.lr());
    scalar("train/tokens_per_s", m.tokensPerS());
    scalar("train/data_wait_share", m.seconds() > 0 ? m.dataWaitS() / m.seconds() : 0);
    end();
    m.experts().ifPresent(e -> experts(m.step(), e));
  }

  /** An event a layer, so that no event grows with the model. */
  private void experts(int step, ExpertMetrics m) {
    for (int l = 0; l < m.layers().size(); l++) {
      ExpertMetrics.Layer layer = m.layers().get(l);
      begin(step);
      scalar("experts/" + l + "/aux_loss", layer.auxLoss());
      scalar("experts/" + l + "/z_loss", layer.zLoss());
      scalar("experts/" + l + "/load_max", layer.loadMax());
      scalar("experts/" + l + "/entropy", layer.entropy());
      scalar("experts/" + l + "/drop_share", layer.dropShare());
      end();
    }
  }

  /** Writes the loss on held-out rows. */
  public void write(EvalMetrics m) {
    begin(m.step());
    scalar(m.task().isEmpty() ? "eval/loss" : "eval/" + m.task() + "/loss", m.evalLoss());
    end();
  }

  /** Writes what a checkpoint answered: percent by metric and set. */
  public void write(int step, Map<String, Map<String, Double>> scores) {
    scores.forEach(
        (metric, sets) ->
            sets.forEach(
                (set, percent) -> {
                  begin(step);
                  scalar("eval/" + set + "/" + metric, percent);
                  end();
                }));
  }

  private void begin(int step) {
    event.clear();
    tag(event, EVENT_WALL_TIME, FIXED64);
    event.putDouble(System.currentTimeMillis() / 1000.0);
    tag(event, EVENT_STEP, VARINT);
    varint(event, step);
  }

  /** Adds one scalar; a message field that occurs twice is merged by readers, so one at a time. */
  private void scalar(String name, double value) {
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer one = buffer(utf8.length + 16);
    bytes(one, VALUE_TAG, utf8);
    tag(one, VALUE_SIMPLE, FIXED32);
    one.putFloat((float) value);
    message.clear();
    nested(message, SUMMARY_VALUE, one);
    nested(event, EVENT_SUMMARY, message);
  }

  private void end() {
    event.flip();
    ByteBuffer record = buffer(event.remaining() + 16);
    record.putLong(event.remaining());
    record.putInt(maskedCrc(record.array(), 0, Long.BYTES));
    int start = record.position();
    record.put(event);
    record.putInt(maskedCrc(record.array(), start, record.position() - start));
    try {
      out.write(record.array());
      out.flush();
    } catch (IOException e) {
      throw failure(e);
    }
  }

  private static int maskedCrc(byte[] bytes, int offset, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, offset, length);
    return Integer.rotateRight((int) crc.getValue(), 15) + CRC_MASK;
  }

  private static void nested(ByteBuffer out, int field, ByteBuffer written) {
    written.flip();
    tag(out, field, BYTES);
    varint(out, written.remaining());
    out.put(written);
  }

  private static void bytes(ByteBuffer out, int field, byte[] value) {
    tag(out, field, BYTES);
    varint(out, value.length);
    out.put(value);
  }

  private static void tag(ByteBuffer out, int field, int wireType) {
    varint(out, field << 3 | wireType);
  }

  private static void varint(ByteBuffer out, long value) {
    long rest = value;
    while ((rest & ~0x7fL) != 0) {
      out.put((byte) (rest & 0x7f | 0x80));
      rest >>>= 7;
    }
    out.put((byte) rest);
  }

  private static ByteBuffer buffer(int bytes) {
    return ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  private UserError failure(IOException e) {
    return DurableFiles.cannotWrite(file, e);
  }

  @Override
  public void close() {
    try {
      out.close();
    } catch (IOException e) {
      throw failure(e);
    }
  }
}
