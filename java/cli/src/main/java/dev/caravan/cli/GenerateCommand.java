package dev.caravan.cli;

import dev.caravan.data.UserError;
import dev.caravan.data.tokenize.DecodeStream;
import dev.caravan.data.tokenize.Tokenizer;
import dev.caravan.data.tokenize.Tokenizers;
import dev.caravan.eval.Generation;
import dev.caravan.eval.Sampler;
import dev.caravan.train.Cwd;
import dev.caravan.train.ModelSource;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code caravan generate}: continues a prompt. */
@Command(name = "generate")
final class GenerateCommand implements Callable<Integer> {
  @Option(names = "--model", required = true, paramLabel = "DIR")
  String model;

  @ArgGroup(multiplicity = "1")
  Prompt prompt;

  @Option(names = "--tokenizer", paramLabel = "FILE|DIR")
  String tokenizer;

  @Option(names = "--max-new-tokens", paramLabel = "N")
  int maxNewTokens = 128;

  @Option(names = "--temperature", paramLabel = "T")
  double temperature;

  @Option(names = "--top-p", paramLabel = "P")
  double topP = 1;

  @Option(names = "--seed", paramLabel = "S")
  long seed;

  @Option(names = "--ids")
  boolean ids;

  @Mixin DeviceOptions device;

  /** The prompt, as text or as token ids. */
  static final class Prompt {
    @Option(names = "--prompt", paramLabel = "TEXT")
    String text;

    @Option(names = "--prompt-ids", paramLabel = "IDS")
    String ids;
  }

  @Override
  public Integer call() {
    check();
    Path folder = ModelFolders.resolve(model);
    ModelSource source = ModelSource.folder(folder);
    Path tokenizerPath = tokenizer == null ? folder : Cwd.resolve(tokenizer);
    boolean needsTokenizer = prompt.text != null || !ids;
    try (Tokenizer words = needsTokenizer ? Tokenizers.open(tokenizerPath) : null) {
      int[] start =
          prompt.text != null ? words.encode(prompt.text, words.addsBos()) : parse(prompt.ids);
      Set<Integer> stops = new HashSet<>(source.config().eosIds());
      if (words != null) {
        Arrays.stream(words.stopIds()).forEach(stops::add);
      }
      Sampler sampler = new Sampler(temperature, topP, seed);
      PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
      Printer printer = ids ? new IdPrinter(out) : new TextPrinter(out, words, start);
      Pace pace = new Pace(printer);
      Generation.run(source, start, maxNewTokens, sampler, stops, device.choose(), pace);
      printer.end();
      out.println();
      out.flush();
      pace.rate().ifPresent(System.err::println);
    }
    return Main.DONE;
  }

  private void check() {
    if (maxNewTokens < 1) {
      throw new UserError(
          "--max-new-tokens: got " + maxNewTokens + ", needs a whole number of at least 1");
    }
    if (!(temperature >= 0) || Double.isInfinite(temperature)) {
      throw new UserError("--temperature: got " + temperature + ", needs a number of at least 0");
    }
    if (!(topP > 0 && topP <= 1)) {
      throw new UserError("--top-p: got " + topP + ", needs a number above 0 and at most 1");
    }
  }

  private static int[] parse(String list) {
    try {
      return Arrays.stream(list.split(",", -1))
          .map(String::trim)
          .mapToInt(Integer::parseInt)
          .toArray();
    } catch (NumberFormatException e) {
      throw new UserError(
          "--prompt-ids: got '" + list + "', needs token ids with commas, for example 1,403,407");
    }
  }

  /** Prints tokens as they come. */
  private interface Printer extends IntConsumer {
    void end();
  }

  /** Notes when the first and the last token came, so that loading and the prompt do not count. */
  static final class Pace implements IntConsumer {
    private final IntConsumer to;
    private long first;
    private long last;
    private int tokens;

    Pace(IntConsumer to) {
      this.to = to;
    }

    @Override
    public void accept(int token) {
      last = System.nanoTime();
      first = tokens == 0 ? last : first;
      tokens++;
      to.accept(token);
    }

    /** For example "256 tokens, 310 tokens/s behind the first"; empty for fewer than two tokens. */
    Optional<String> rate() {
      if (tokens < 2) {
        return Optional.empty();
      }
      double rate = (tokens - 1) / Math.max(1e-9, (last - first) * 1e-9);
      return Optional.of(
          String.format(Locale.ROOT, "%d tokens, %,.1f tokens/s behind the first", tokens, rate));
    }
  }

  private static final class IdPrinter implements Printer {
    private final PrintStream out;
    private String separator = "";

    IdPrinter(PrintStream out) {
      this.out = out;
    }

    @Override
    public void accept(int token) {
      out.print(separator + token);
      separator = ",";
      out.flush();
    }

    @Override
    public void end() {}
  }

  private static final class TextPrinter implements Printer {
    private final PrintStream out;
    private final DecodeStream text;

    TextPrinter(PrintStream out, Tokenizer tokenizer, int[] prompt) {
      this.out = out;
      text = tokenizer.decodeStream(prompt);
    }

    @Override
    public void accept(int token) {
      out.print(text.add(token));
      out.flush();
    }

    @Override
    public void end() {
      out.print(text.flush());
    }
  }
}
