package dev.caravan.cli;

import dev.caravan.checkpoint.ModelExport;
import dev.caravan.checkpoint.Safetensors;
import dev.caravan.checkpoint.StoredType;
import dev.caravan.data.UserError;
import dev.caravan.model.HfConfig;
import dev.caravan.model.LlamaWeights;
import dev.caravan.train.Cwd;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code caravan export}: writes a model for other programs. */
@Command(name = "export")
final class ExportCommand implements Callable<Integer> {
  @Option(names = "--model", required = true, paramLabel = "DIR")
  String model;

  @Option(names = "--format", required = true, paramLabel = "FORMAT")
  String format;

  @Option(names = "--out", required = true, paramLabel = "DIR")
  String out;

  @Override
  public Integer call() {
    if (format.equals("gguf")) {
      throw new UserError("--format gguf: not built yet; built: hf");
    }
    if (!format.equals("hf")) {
      throw new UserError("--format: got '" + format + "', needs hf");
    }
    Path folder = ModelFolders.resolve(model);
    HfConfig config = HfConfig.read(folder);
    Path target = Cwd.resolve(out);
    try (Safetensors weights = Safetensors.open(folder)) {
      LlamaWeights.check(config.config(), weights.shapes(), folder.toString());
      StoredType type = weights.tensors().get(LlamaWeights.EMBEDDING).type();
      ModelExport.write(folder, weights, config.toJson(type.torchName()), target);
    }
    System.out.println(target);
    return Main.DONE;
  }
}
