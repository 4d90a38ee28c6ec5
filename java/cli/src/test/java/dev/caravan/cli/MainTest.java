package dev.caravan.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import dev.caravan.kernels.KernelException;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.Command;

class MainTest {
  @TempDir Path dir;

  @Test
  void noVerbShowsTheVerbsAndIsBadUsage() {
    Captured run = Captured.run();
    assertEquals(2, run.code());
    assertEquals("", run.out());
    assertTrue(run.err().startsWith("Caravan instruction-tunes"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "sft",
        "pretrain",
        "plan",
        "preview",
        "score",
        "generate",
        "export",
        "recipes",
        "eval",
        "bench"
      })
  void everyVerbHasHelpWithExamples(String verb) {
    Captured run = Captured.run(verb, "--help");
    assertEquals(0, run.code());
    assertTrue(run.out().startsWith("caravan " + verb), run.out());
    assertTrue(run.out().contains("\nExamples\n  caravan " + verb), run.out());
    assertEquals(run.out(), Captured.run(verb, "something", "-h").out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "stf|caravan: unknown verb 'stf', did you mean 'sft'?",
        "--versoin|caravan: unknown verb '--versoin'",
        "sft|caravan: sft: Missing required parameter: 'RECIPE' (see caravan sft --help)",
        "sft first-run --sett a=1|caravan: sft: unknown option '--sett', did you mean '--set'?",
        "sft a b|caravan: sft: ",
        "sft frist-run|caravan: unknown recipe 'frist-run', did you mean 'first-run'?",
        "sft no/such.yaml|no/such.yaml: no such file",
        "sft first-run --set train.stpes=1|caravan: train.stpes: unknown key 'stpes', did you mean",
        "sft first-run --set model=|caravan: model: missing",
        "sft first-run --set data=|caravan: data.path: missing",
        "sft first-run --threads 0|caravan: --threads: got 0, needs a whole number of at least 1",
        "sft first-run --threads many|caravan: sft: Invalid value for option '--threads'",
        "sft first-run --device gpu|caravan: --device: got 'gpu', needs cpu, cuda or cuda:N",
        "plan first-run --gpus 8 --set parallel.data=4|caravan: --gpus: got 8, but parallel.data is 4",
        "plan first-run --machine h20|caravan: unknown machine 'h20', did you mean 'h200'?",
        "score --model a|caravan: score: Missing required options: '--data=FILE', '--out=FILE'",
        "score --model a --data b --out c --set optimizer.lr=1|score takes only keys of tokenizer",
        "generate --model a|caravan: generate: Error: Missing required argument",
        "generate --model a --prompt x --prompt-ids 1|caravan: generate: Error: --prompt",
        "generate --model a --prompt x --temperature -1|--temperature: got -1.0",
        "generate --model a --prompt x --top-p 0|--top-p: got 0.0",
        "generate --model a --prompt x --max-new-tokens 0|--max-new-tokens: got 0",
        "generate --model no --prompt x|no: no such file; a model folder holds config.json",
        "export --model a --format gguf --out b|caravan: --format gguf: not built yet",
        "export --model a --format onnx --out b|caravan: --format: got 'onnx', needs hf",
        "eval --model a --suite mmlu|caravan: eval: Missing required option: '--data=PATH'",
        "eval --model a --suite mmul --data b|caravan: unknown suite 'mmul', did you mean 'mmlu'?",
        "eval --model a --suite mmlu --data b|/b: no such file or folder",
        "eval --model a --suite mmlu --data b --shots -1|caravan: --shots: got -1",
        "eval --model a --suite mmlu --data b --limit 0|caravan: --limit: got 0",
        "eval --model a --suite mmlu --data b --too-long cut|caravan: --too-long: got 'cut', needs fail",
        "eval --model a --suite bbh --data b --reasoning x|caravan: --reasoning: got 'x', needs direct, cot",
        "eval --model a --suite gsm8k --data b --samples 4 --temperature 0|all samples would be the same",
        "eval --model a --suite gsm8k --data b --samples 0|caravan: --samples: got 0",
        "bench|caravan: bench: Missing required subcommand (see caravan bench --help)",
        "bench kernel|caravan: bench: ",
        "bench kernels --size 15mm|caravan: --size: unknown size '15mm', did you mean '15m'?",
        "bench kernels --op rmsnrom|caravan: --op: unknown op 'rmsnrom', did you mean 'rmsnorm'?",
        "bench kernels --shape head=8|caravan: --shape: unknown extent 'head', did you mean 'heads'?",
        "bench kernels --shape heads=0|caravan: --shape: got 'heads=0', needs heads=N",
        "bench kernels --shape heads=5|caravan: --shape: heads must be a multiple of kv_heads",
        "bench kernels --dtype f16|caravan: --dtype: got 'f16', needs f32 or bf16",
        "bench kernels --samples 0|caravan: --samples: got 0",
        "bench kernels --plot a.png|caravan: --plot: got 'a.png', needs a file name that ends in .svg",
        "bench train frist-run|caravan: unknown recipe 'frist-run', did you mean 'first-run'?",
        "bench train --steps 0|caravan: --steps: got 0, needs a whole number of at least 1",
        "bench kernels --jsn|caravan: bench kernels: unknown option '--jsn', did you mean '--json'?",
        "recipes show frist-run|caravan: unknown recipe 'frist-run', did you mean 'first-run'?",
        "recipes shwo first-run|caravan: recipes: ",
      })
  void badUsageIsOneLineAndExitCodeTwo(String line, String expected) {
    System.setProperty("caravan.cwd", dir.toString());
    try {
      Captured run = Captured.run(line.split(" "));
      assertEquals(2, run.code(), run.err());
      assertEquals("", run.out());
      String[] lines = run.err().strip().split("\n");
      String last = lines[lines.length - 1];
      assertTrue(last.contains(expected), run.err());
      assertTrue(lines.length == 1 || (lines.length == 2 && lines[0].startsWith("device: ")));
    } finally {
      System.clearProperty("caravan.cwd");
    }
  }

  @Test
  void failuresHaveOneLineAndTheirExitCode() {
    assertEquals(2, Main.failure(new UserError("bad input")));
    assertEquals(1, Main.failure(new IllegalStateException("a bug\nin two lines")));
    assertEquals(1, Main.failure(KernelException.lost("the device failed")));
    assertEquals(1, Main.failure(new OutOfMemoryError("heap")));
    assertEquals(1, Main.failure(new NullPointerException()));
  }

  @Command(name = "full")
  static final class FullHeap implements Runnable {
    @Override
    public void run() {
      throw new OutOfMemoryError("Java heap space");
    }
  }

  @Test
  void aFullHeapIsOneLineToo() {
    PrintStream before = System.err;
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    try {
      assertEquals(1, Main.execute(new CommandLine(new FullHeap())));
    } finally {
      System.setErr(before);
    }
    String said = err.toString(StandardCharsets.UTF_8);
    assertEquals(1, said.lines().count(), said);
    assertTrue(said.startsWith("caravan: the Java heap is full (Java heap space); "), said);
  }
}
