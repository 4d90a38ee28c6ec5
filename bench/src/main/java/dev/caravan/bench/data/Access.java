package dev.caravan.bench.data;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.data.cache.CacheFolder;
import dev.caravan.data.mix.Mixture;
import dev.caravan.data.mix.MixtureFile;
import dev.caravan.data.mix.MixtureRows;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * How long it takes to read ids and labels of example k of a mixture, k at random, with its tokens in
 * the cache: in a process that has read all windows before, and the first read of each window.
 *
 * <p>Arguments: FILE.jsonl TOKENIZER SEQUENCE READS CACHE-FOLDER. Prints microseconds as JSON.
 */
public final class Access {
  private static final int WINDOW = 1024;

  private Access() {}

  /** See the class. */
  public static void main(String[] args) throws Exception {
    int sequence = Integer.parseInt(args[2]);
    int reads = Integer.parseInt(args[3]);
    ObjectNode result = new ObjectMapper().createObjectNode();
    try (Mixture mixture = open(args, sequence)) {
      touch(mixture.rows()); // fills the cache
    }
    try (Mixture mixture = open(args, sequence)) {
      MixtureRows rows = mixture.rows();
      put(result.putObject("first_read_of_a_window_us"), touch(rows));
      int[] ids = new int[sequence];
      SplittableRandom random = new SplittableRandom(1);
      random(rows, random, ids, reads); // for the compiler
      put(result.putObject("read_us"), random(rows, random, ids, reads));
      result.put("examples", rows.size()).put("reads", reads);
    }
    System.out.println(result);
  }

  private static Mixture open(String[] args, int sequence) {
    String text =
        "tasks:\n  all: {path: '%s', format: prompt, fields: {target: response}, templates: qa}\n"
            .formatted(args[0]);
    Tokenizer tokenizer = Tokenizers.open(Path.of(args[1]));
    return Mixture.load(
        MixtureFile.parse(text, "access.yaml", path -> path),
        tokenizer,
        RowLimits.ofSequence(sequence, tokenizer.vocabSize()),
        1,
        true,
        example -> false,
        CacheFolder.at(Path.of(args[4]), 0, System.err::println));
  }

  private static double[] touch(MixtureRows rows) {
    double[] took = new double[(rows.size() + WINDOW - 1) / WINDOW];
    for (int window = took.length - 1; window >= 0; window--) { // so that none is made ahead
      long began = System.nanoTime();
      rows.length(window * WINDOW);
      took[window] = (System.nanoTime() - began) * 1e-3;
    }
    return took;
  }

  private static double[] random(
      MixtureRows rows, SplittableRandom random, int[] ids, int reads) {
    double[] took = new double[reads];
    for (int i = 0; i < reads; i++) {
      int row = random.nextInt(rows.size());
      long began = System.nanoTime();
      rows.copyIds(row, ids, 0);
      rows.copyLabels(row, ids, 0);
      took[i] = (System.nanoTime() - began) * 1e-3;
    }
    return took;
  }

  private static void put(ObjectNode into, double[] us) {
    Arrays.sort(us);
    into.put("mean", Arrays.stream(us).average().orElse(0));
    into.put("median", us[us.length / 2]);
    into.put("p99", us[us.length * 99 / 100]);
  }
}
