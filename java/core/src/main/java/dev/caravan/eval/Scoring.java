package dev.caravan.eval;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.caravan.checkpoint.DurableFiles;
import dev.caravan.data.RowSet;
import dev.caravan.kernels.Blas;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Device;
import dev.caravan.kernels.Stream;
import dev.caravan.train.DeviceChoice;
import dev.caravan.train.ModelSource;
import dev.caravan.train.RunConfig;
import dev.caravan.train.RunData;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Scores the rows of a file with a model and writes one line for each. */
public final class Scoring {
  private Scoring() {}

  /**
   * Scores every row in order. The output appears whole or not at all.
   *
   * @param config model folder, data and precision
   * @param choice where
   * @param out gets {"nll_sum", "targets", "logprobs"} a line
   * @throws dev.caravan.data.UserError if something is wrong with model, data or output
   */
  public static void run(RunConfig config, DeviceChoice choice, Path out) {
    ModelSource model = ModelSource.of(config.model());
    RowSet rows = RunData.forScore(config, model.config());
    if (choice.device().kind() == Device.Kind.CPU) {
      Blas.install();
    }
    try (Stream stream = Stream.open(choice.device(), choice.threads());
        Scorer scorer = new Scorer(model, rows, storage(config.precision()), stream)) {
      DurableFiles.replace(
          out,
          channel -> {
            BufferedWriter lines =
                new BufferedWriter(Channels.newWriter(channel, StandardCharsets.UTF_8));
            try {
              scorer.run(rows, score -> write(lines, score));
            } catch (UncheckedIOException e) {
              throw e.getCause();
            }
            lines.flush();
          });
    }
  }

  /** float32 unless bfloat16 is asked for, on any device: scores are for comparing. */
  private static DType storage(RunConfig.Precision precision) {
    return precision == RunConfig.Precision.BF16 ? DType.BF16 : DType.F32;
  }

  private static void write(BufferedWriter lines, Scorer.Score score) {
    ObjectNode line = JsonNodeFactory.instance.objectNode();
    line.put("nll_sum", score.nllSum());
    line.put("targets", score.targets());
    ArrayNode logprobs = line.putArray("logprobs");
    for (double logprob : score.logprobs()) {
      logprobs.add(logprob);
    }
    try {
      lines.write(line.toString());
      lines.write('\n');
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
