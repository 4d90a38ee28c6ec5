package dev.caravan.cli.quickstart;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;

/**
 * Writes the data of the recipes quickstart and quickstart-base. The same JDK writes the same
 * bytes.
 */
public final class QuickstartData {
  /** Tokens of the vocabulary. */
  static final int VOCABULARY = 2048;

  private static final ObjectMapper JSON = new ObjectMapper();

  private QuickstartData() {}

  /**
   * Writes corpus.jsonl.gz, tokenizer.json, rows.jsonl.gz, facts.jsonl.gz and phrasings.jsonl.gz.
   *
   * @param args the folder to write to
   */
  public static void main(String[] args) throws IOException {
    if (args.length != 1) {
      System.err.println("usage: QuickstartData FOLDER");
      System.exit(2);
    }
    Path folder = Files.createDirectories(Path.of(args[0]));
    List<Family> families = Families.all();
    List<String> documents = Corpus.documents(families);
    Tasks tasks = Tasks.of(families);
    lines(folder, "corpus", documents.stream().map(text -> object("text", text)));
    lines(folder, "rows", items(tasks.tuning()));
    lines(folder, "facts", items(tasks.facts()));
    lines(folder, "phrasings", items(tasks.phrasings()));
    Files.writeString(folder.resolve("tokenizer.json"), tokenizer(documents, tasks).toJson());
  }

  /**
   * The tokenizer is trained on the corpus and, so that their words are no riddles, the prompts.
   */
  static BytePairs tokenizer(List<String> documents, Tasks tasks) {
    List<String> texts = new ArrayList<>(documents);
    tasks.tuning().forEach(item -> texts.add(item.prompt()));
    return new BytePairs(texts, VOCABULARY);
  }

  static Stream<ObjectNode> items(List<Tasks.Item> items) {
    return items.stream().map(item -> object("prompt", item.prompt()).put("target", item.target()));
  }

  static ObjectNode object(String key, String value) {
    return JSON.createObjectNode().put(key, value);
  }

  static void lines(Path folder, String name, Stream<ObjectNode> lines) throws IOException {
    try (OutputStream out =
        new GZIPOutputStream(Files.newOutputStream(folder.resolve(name + ".jsonl.gz")))) {
      for (ObjectNode line : (Iterable<ObjectNode>) lines::iterator) {
        out.write((line + "\n").getBytes(StandardCharsets.UTF_8));
      }
    }
  }
}
