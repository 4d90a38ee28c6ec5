package dev.caravan.train;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What a micro-batch holds where the run file does not say: enough, but no more than a step fills.
 */
class TrainingRunTest {

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        // settings | mean tokens of a row | tokens of a buffer
        "sequence.length=256,train.tokens_per_step=65536|100|2048",
        "sequence.length=256,train.tokens_per_step=1000|100|1024",
        "sequence.length=256,train.tokens_per_step=64|20|256",
        "sequence.length=4096,train.tokens_per_step=65536|100|4096",
        "sequence.length=128,train.examples_per_step=16|57.7|1024",
        "sequence.length=128,train.examples_per_step=1|57.7|128",
        "sequence.length=300,train.examples_per_step=4,sequence.packing=false|50|1200",
        "sequence.length=300,train.examples_per_step=64,sequence.packing=false|50|2100",
      })
  void followsFromTheStep(String settings, double mean, int expected) {
    List<String> all = new ArrayList<>(List.of(settings.split(",")));
    RunConfig config = RunFile.parse("model: {path: /m}", "r", "r", all);
    assertEquals(expected, TrainingRun.defaultMicroBatch(config, mean));
  }
}
