package dev.caravan.data.mix;

import dev.caravan.data.cache.CacheFile;
import dev.caravan.data.cache.CacheWriter;
import dev.caravan.data.source.Example;
import dev.caravan.data.source.Message;
import dev.caravan.data.source.Role;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Examples in a cached file, made into objects when they are asked for. */
final class StoredExamples implements ExampleSet {
  /** Bytes of an index entry: offset (8), line (8), file (4), kind of example (4). */
  static final int ENTRY_BYTES = 24;

  private static final int LINE_AT = 8;
  private static final int FILE_AT = 16;
  private static final int KIND_AT = 20;

  private static final int FIELDS = 0;
  private static final int CHAT = 1;
  private static final int TEXT = 2;
  /** Marks the length of a text that may hold half a pair, which UTF-8 could not bring back. */
  private static final int UTF_16 = 1 << 30;

  private static final int BEGINS = 1;
  private static final int ENDS = 2;

  private static final Role[] ROLES = Role.values();

  private final CacheFile stored;
  private final List<Path> files;
  private final List<String> names;
  private final long skipped;
  private final long copies;

  /**
   * @param files by the names that they have today, in the order in which they were read
   */
  StoredExamples(CacheFile stored, List<Path> files) {
    this.stored = stored;
    this.files = List.copyOf(files);
    ByteBuffer meta = ByteBuffer.wrap(stored.meta());
    skipped = meta.getLong();
    copies = meta.getLong();
    names = new ArrayList<>();
    while (meta.hasRemaining()) {
      byte[] name = new byte[meta.getInt()];
      meta.get(name);
      names.add(new String(name, StandardCharsets.UTF_8));
    }
  }

  @Override
  public long size() {
    return stored.records();
  }

  @Override
  public long skipped() {
    return skipped;
  }

  @Override
  public long copies() {
    return copies;
  }

  @Override
  public String where(long row) {
    return files.get(stored.entryInt(row, FILE_AT)) + ":" + stored.entryLong(row, LINE_AT);
  }

  @Override
  public Example example(long row) {
    Reader in = new Reader(stored, stored.entryLong(row, 0));
    return switch (stored.entryInt(row, KIND_AT)) {
      case FIELDS -> fields(in);
      case CHAT -> chat(in);
      default -> {
        int flags = in.number();
        yield new Example.Text(in.text(), (flags & BEGINS) != 0, (flags & ENDS) != 0);
      }
    };
  }

  private Example fields(Reader in) {
    int count = in.number();
    Map<String, String> values = new LinkedHashMap<>();
    List<String> given = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      String name = names.get(in.number());
      given.add(in.text());
      values.put(name, given.get(i));
    }
    String prompt = in.textOrOneOf(given);
    String target = in.textOrOneOf(given);
    List<String> alternatives = new ArrayList<>();
    for (int left = in.number(); left > 0; left--) {
      alternatives.add(in.text());
    }
    return new Example.Fields(values, prompt, target, alternatives);
  }

  private static Example chat(Reader in) {
    List<Message> messages = new ArrayList<>();
    int count = in.number();
    for (int i = 0; i < count; i++) {
      Role role = ROLES[in.number()];
      messages.add(new Message(role, in.text()));
    }
    return new Example.Chat(messages);
  }

  /** Reads one record. */
  private static final class Reader {
    private final ByteBuffer map;
    private int at;

    Reader(CacheFile file, long place) {
      map = file.map(place);
      at = CacheFile.within(place);
    }

    int number() {
      at += Integer.BYTES;
      return map.getInt(at - Integer.BYTES);
    }

    String text() {
      return text(number());
    }

    /** A negative number says which of the texts before it is. */
    String textOrOneOf(List<String> given) {
      int length = number();
      return length < 0 ? given.get(-1 - length) : text(length);
    }

    private String text(int length) {
      int from = at;
      if ((length & UTF_16) != 0) {
        char[] chars = new char[(length & ~UTF_16) / Character.BYTES];
        for (int i = 0; i < chars.length; i++) {
          chars[i] = map.getChar(from + Character.BYTES * i);
        }
        at += Character.BYTES * chars.length;
        return new String(chars);
      }
      byte[] bytes = new byte[length];
      map.get(from, bytes);
      at += length;
      return new String(bytes, StandardCharsets.UTF_8);
    }
  }

  /** Writes examples as they come. */
  static final class Sink {
    private final CacheWriter out;
    private final List<Path> files;
    private final Map<String, Integer> names = new HashMap<>();
    private final List<String> inOrder = new ArrayList<>();
    private int file;

    Sink(CacheWriter out, List<Path> files) {
      this.out = out;
      this.files = files;
    }

    void add(Example example, Path from, long line) {
      while (!files.get(file).equals(from)) {
        file++;
      }
      out.align();
      long place = out.position();
      int kind = TEXT;
      if (example instanceof Example.Fields fields) {
        kind = FIELDS;
        put(fields);
      } else if (example instanceof Example.Chat chat) {
        kind = CHAT;
        out.putInt(chat.messages().size());
        for (Message message : chat.messages()) {
          out.putInt(message.role().ordinal());
          put(message.content());
        }
      } else if (example instanceof Example.Text text) {
        out.putInt((text.begins() ? BEGINS : 0) | (text.ends() ? ENDS : 0));
        put(text.text());
      }
      out.entry().putLong(place).putLong(line).putInt(file).putInt(kind);
    }

    private void put(Example.Fields fields) {
      // In order of their names, so that equal data makes equal files.
      TreeMap<String, String> values = new TreeMap<>(fields.values());
      out.putInt(values.size());
      List<String> given = new ArrayList<>();
      values.forEach(
          (name, value) -> {
            out.putInt(number(name));
            put(value);
            given.add(value);
          });
      putOrOneOf(fields.prompt(), given);
      putOrOneOf(fields.target(), given);
      out.putInt(fields.alternatives().size());
      fields.alternatives().forEach(this::put);
    }

    private int number(String name) {
      return names.computeIfAbsent(
          name,
          n -> {
            inOrder.add(n);
            return inOrder.size() - 1;
          });
    }

    private void putOrOneOf(String text, List<String> given) {
      int known = given.indexOf(text);
      if (known >= 0) {
        out.putInt(-1 - known);
      } else {
        put(text);
      }
    }

    private void put(String text) {
      if (text.chars().anyMatch(c -> Character.isSurrogate((char) c))) {
        out.putInt(2 * text.length() | UTF_16);
        text.chars().forEach(out::putShort);
        return;
      }
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      out.putInt(bytes.length);
      out.put(bytes, 0, bytes.length);
    }

    /**
     * Ends the file.
     *
     * @param skipped rows that were left out as bad
     * @param copies rows that were left out because the run evaluates on them
     */
    void end(long skipped, long copies) {
      int bytes = 2 * Long.BYTES;
      List<byte[]> encoded = new ArrayList<>();
      for (String name : inOrder) {
        encoded.add(name.getBytes(StandardCharsets.UTF_8));
        bytes += Integer.BYTES + encoded.get(encoded.size() - 1).length;
      }
      ByteBuffer meta = ByteBuffer.allocate(bytes).putLong(skipped).putLong(copies);
      encoded.forEach(name -> meta.putInt(name.length).put(name));
      out.meta(meta.array());
    }
  }
}
