package dev.caravan.cli;

import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.kernels.KernelException;
import dev.caravan.parallel.RankFailure;
import dev.caravan.train.NonFinite;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ParameterException;

/**
 * The command line. Results go to standard output, everything else to standard error. Exit codes: 0
 * done, 2 bad usage or bad input, 130 after Ctrl-C, 1 anything else.
 */
@Command(
    name = "caravan",
    subcommands = {
      SftCommand.class,
      PretrainCommand.class,
      PlanCommand.class,
      PreviewCommand.class,
      ScoreCommand.class,
      GenerateCommand.class,
      EvalCommand.class,
      StudyCommand.class,
      ExportCommand.class,
      BenchCommand.class,
      RecipesCommand.class
    })
public final class Main {
  static final int DONE = 0;
  static final int FAILED = 1;
  static final int BAD_INPUT = 2;
  static final int INTERRUPTED = 130;

  /** Set to anything, the stack trace of an unexpected failure is printed. */
  private static final String TRACE = "CARAVAN_TRACE";

  /** Runs a verb and ends the process with its exit code. */
  public static void main(String[] args) {
    System.exit(run(args));
  }

  /** Runs a verb; returns the exit code. */
  static int run(String... args) {
    if (args.length == 0) {
      System.err.print(help("caravan"));
      return BAD_INPUT;
    }
    List<String> options = Arrays.asList(args);
    int end = options.contains("--") ? options.indexOf("--") : options.size();
    if (options.subList(0, end).contains("--help") || options.subList(0, end).contains("-h")) {
      System.out.print(help(args[0]));
      return DONE;
    }
    CommandLine line = new CommandLine(new Main());
    if (!line.getSubcommands().containsKey(args[0])) {
      return say(BAD_INPUT, Nearest.unknown("verb", args[0], line.getSubcommands().keySet()));
    }
    return execute(line, args);
  }

  /** Executes a command; whatever it throws becomes one line and an exit code. */
  static int execute(CommandLine line, String... args) {
    line.setCaseInsensitiveEnumValuesAllowed(true)
        .setParameterExceptionHandler((e, given) -> usage(e))
        .setExecutionExceptionHandler((e, command, parsed) -> failure(e));
    try {
      return line.execute(args);
    } catch (Error e) { // a full heap, above all: handlers of exceptions do not see it
      return failure(e);
    }
  }

  private static int usage(ParameterException e) {
    // "caravan bench kernels" without its first word.
    String verb = e.getCommandLine().getCommandSpec().qualifiedName().replaceFirst("^caravan ", "");
    String message = e.getMessage().lines().findFirst().orElse("bad usage");
    if (e instanceof CommandLine.UnmatchedArgumentException unmatched) {
      String word = unmatched.getUnmatched().get(0);
      List<String> known =
          e.getCommandLine().getCommandSpec().options().stream().map(o -> o.longestName()).toList();
      if (word.startsWith("-")) {
        message = Nearest.unknown("option", word, known);
      }
    }
    String which = verb.equals("caravan") ? "" : verb + ": ";
    return say(BAD_INPUT, which + message + " (see caravan " + verb.split(" ")[0] + " --help)");
  }

  /** Maps a failure to its exit code and one line. */
  static int failure(Throwable e) {
    if (System.getenv(TRACE) != null) {
      e.printStackTrace();
    }
    if (e instanceof UserError) {
      return say(BAD_INPUT, e.getMessage());
    }
    if (e instanceof NonFinite wrong && wrong.ofRouter()) {
      return say(BAD_INPUT, e.getMessage());
    }
    if (e instanceof NonFinite || e instanceof KernelException || e instanceof RankFailure) {
      return say(FAILED, e.getMessage());
    }
    if (e instanceof OutOfMemoryError) {
      return say(
          FAILED,
          "the Java heap is full ("
              + e.getMessage()
              + "); CARAVAN_JAVA_OPTS=-Xmx8g gives it 8 GiB, and data in a cache takes none of it");
    }
    String what =
        e.getMessage() == null ? "" : ": " + e.getMessage().lines().findFirst().orElse("");
    return say(
        FAILED, e.getClass().getSimpleName() + what + " (" + TRACE + "=1 shows where it happened)");
  }

  private static int say(int code, String line) {
    System.err.println("caravan: " + line);
    return code;
  }

  private static String help(String verb) {
    try (InputStream in = Main.class.getResourceAsStream("help/" + verb + ".txt")) {
      if (in == null) {
        return help("caravan");
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }
}
