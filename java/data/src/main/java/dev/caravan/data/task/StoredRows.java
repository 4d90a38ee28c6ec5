package dev.caravan.data.task;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.RowSet;
import dev.caravan.data.RowStore;
import dev.caravan.data.cache.CacheWriter;
import dev.caravan.data.cache.TokenRows;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Rows of a cached file, and what became of the files that they are from. */
final class StoredRows implements RowSet {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final TokenRows rows;
  private final List<Path> files;
  private final JsonNode meta;

  /**
   * @param files by the names that they have today, in the order in which they were read
   */
  StoredRows(TokenRows rows, List<Path> files) {
    this.rows = rows;
    this.files = List.copyOf(files);
    try {
      meta = JSON.readTree(rows.file().meta());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What became of each file's rows. */
  List<TruncationReport.FileCounts> counts() {
    List<TruncationReport.FileCounts> counts = new ArrayList<>();
    for (int f = 0; f < files.size(); f++) {
      JsonNode count = meta.path("files").path(f);
      counts.add(
          new TruncationReport.FileCounts(
              files.get(f).toString(),
              count.path("read").asLong(),
              count.path("kept").asLong(),
              count.path("truncated").asLong(),
              count.path("tokens_cut").asLong(),
              count.path("empty_target").asLong(),
              count.path("cut_target").asLong(),
              count.path("copies").asLong()));
    }
    return counts;
  }

  @Override
  public int size() {
    return Math.toIntExact(rows.size());
  }

  @Override
  public int length(int row) {
    return rows.length(row);
  }

  @Override
  public int targets(int row) {
    return rows.targets(row);
  }

  @Override
  public void copyIds(int row, int[] into, int offset) {
    rows.copyIds(row, into, offset);
  }

  @Override
  public void copyLabels(int row, int[] into, int offset) {
    rows.copyLabels(row, into, offset);
  }

  @Override
  public String where(int row) {
    return files.get(rows.note(row)) + ":" + rows.mark(row);
  }

  @Override
  public int maxLength() {
    return meta.path("max_length").asInt();
  }

  @Override
  public int minLength() {
    return meta.path("min_length").asInt();
  }

  @Override
  public long totalTokens() {
    return meta.path("total_tokens").asLong();
  }

  @Override
  public long totalTargets() {
    return meta.path("total_targets").asLong();
  }

  /** Writes rows as they come. */
  static final class Sink implements RowSink {
    private final CacheWriter out;
    private int file = -1;
    private int longest;
    private int shortest = Integer.MAX_VALUE;
    private long tokens;
    private long targets;

    Sink(CacheWriter out) {
      this.out = out;
    }

    @Override
    public void file(String name) {
      file++;
    }

    @Override
    public void add(int[] ids, int[] labels, int count, long line) {
      int learnt = RowStore.targets(labels, count);
      TokenRows.put(out, ids, labels, count, learnt, file, line);
      longest = Math.max(longest, count);
      shortest = Math.min(shortest, count);
      tokens += count;
      targets += learnt;
    }

    /** Ends the file with what became of the files' rows. */
    void end(List<TruncationReport.FileCounts> counts) {
      ObjectNode meta = JSON.createObjectNode();
      meta.put("max_length", longest)
          .put("min_length", out.records() == 0 ? 0 : shortest)
          .put("total_tokens", tokens)
          .put("total_targets", targets);
      ArrayNode list = meta.putArray("files");
      for (TruncationReport.FileCounts count : counts) {
        list.addObject()
            .put("read", count.read())
            .put("kept", count.kept())
            .put("truncated", count.truncated())
            .put("tokens_cut", count.tokensCut())
            .put("empty_target", count.emptyTarget())
            .put("cut_target", count.cutTarget())
            .put("copies", count.copies());
      }
      try {
        out.meta(JSON.writeValueAsBytes(meta));
      } catch (IOException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
