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
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32C;

/**
 * A TensorBoard event file of scalars, and of histograms for the load of experts.
 *
 * <p>The file is a sequence of TFRecords: length (8 bytes, little-endian), masked CRC-32C of the
 * length, payload, masked CRC-32C of the payload. Each payload is an {@code Event} message in
 * protocol-buffer encoding; only the fields below are used. Sources: TensorFlow's record_writer.h,
 * crc32c.h, event.proto and summary.proto.
 */
public final class TensorBoardWriter implements AutoCloseable {
  // Event: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log.
  // Summary: 1 repeated Value {1 tag string, 2 simple_value float, 5 histo}. HistogramProto: doubles, 1
  // min, 2 max, 3 num, 4 sum, 5 sum_squares, packed 6 bucket_limit, 7 bucket. SessionLog: 1 status,
  // START = 1.
  private static final int EVENT_WALL_TIME = 1;
  private static final int EVENT_STEP = 2;
  private static final int EVENT_FILE_VERSION = 3;
  private static final int EVENT_SUMMARY = 5;
  private static final int EVENT_SESSION_LOG = 7;
  private static final int SUMMARY_VALUE = 1;
  private static final int VALUE_TAG = 1;
  private static final int VALUE_SIMPLE = 2;
  private static final int VALUE_HISTOGRAM = 5;
  private static final int HISTOGRAM_MIN = 1;
  private static final int HISTOGRAM_MAX = 2;
  private static final int HISTOGRAM_NUM = 3;
  private static final int HISTOGRAM_SUM = 4;
  private static final int HISTOGRAM_SUM_SQUARES = 5;
  private static final int HISTOGRAM_LIMITS = 6;
  private static final int HISTOGRAM_BUCKETS = 7;
  private static final int SESSION_STATUS = 1;
  private static final int SESSION_START = 1;

  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;
  private static final int CRC_MASK = 0xa282ead8;

  /** TensorBoard shows some dozens of a run's histograms, which are large. */
  private static final int HISTOGRAM_STEPS = 10;

  private final Path file;
  private final OutputStream out;
  private ByteBuffer message = buffer(512);
  private ByteBuffer event = buffer(1024);

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

  /**
   * Writes the curves of a step: loss, grad_norm, lr, tokens_per_s, data_wait_share, and those of each
   * sparse layer; after the first step and every tenth also which experts its tokens chose.
   */
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
      if (step == 1 || step % HISTOGRAM_STEPS == 0) {
        histogram("experts/" + l + "/choices", layer.choices());
      }
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
    summary(one);
  }

  /** Adds how often each number from 0 on occurred: bucket n lies between n and n + 1. */
  private void histogram(String name, List<Long> counts) {
    double all = 0;
    double sum = 0;
    double squares = 0;
    for (int n = 0; n < counts.size(); n++) {
      all += counts.get(n);
      sum += (double) counts.get(n) * n;
      squares += (double) counts.get(n) * n * n;
    }
    ByteBuffer limits = buffer(counts.size() * Double.BYTES);
    ByteBuffer buckets = buffer(counts.size() * Double.BYTES);
    for (int n = 0; n < counts.size(); n++) {
      limits.putDouble(n + 1);
      buckets.putDouble(counts.get(n));
    }
    ByteBuffer histogram = buffer(2 * limits.capacity() + 64);
    number(histogram, HISTOGRAM_MIN, 0);
    number(histogram, HISTOGRAM_MAX, counts.size());
    number(histogram, HISTOGRAM_NUM, all);
    number(histogram, HISTOGRAM_SUM, sum);
    number(histogram, HISTOGRAM_SUM_SQUARES, squares);
    bytes(histogram, HISTOGRAM_LIMITS, limits.array());
    bytes(histogram, HISTOGRAM_BUCKETS, buckets.array());
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    ByteBuffer one = buffer(histogram.position() + utf8.length + 16);
    bytes(one, VALUE_TAG, utf8);
    nested(one, VALUE_HISTOGRAM, histogram);
    summary(one);
  }

  private void summary(ByteBuffer value) {
    message.clear();
    message = withRoom(message, value.position() + 16);
    nested(message, SUMMARY_VALUE, value);
    event = withRoom(event, message.position() + 16);
    nested(event, EVENT_SUMMARY, message);
  }

  /** The buffer, or a larger one with the same contents where so many bytes do not fit. */
  private static ByteBuffer withRoom(ByteBuffer buffer, int bytes) {
    if (buffer.remaining() >= bytes) {
      return buffer;
    }
    buffer.flip();
    return buffer(2 * (buffer.remaining() + bytes)).put(buffer);
  }

  private static void number(ByteBuffer out, int field, double value) {
    tag(out, field, FIXED64);
    out.putDouble(value);
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
