package dev.caravan.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.UserError;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModelExportTest {
  @TempDir Path dir;

  private Path model(Native memory, long maxShardBytes) throws IOException {
    Path model = Files.createDirectory(dir.resolve("model"));
    Random random = new Random(1);
    List<NamedTensor> tensors =
        List.of(memory.random("a", random, 10L), memory.random("b", random, 10L));
    SafetensorsWriter.writeModel(model, tensors, maxShardBytes, DurableFiles.Opener.FILES);
    Files.writeString(model.resolve("tokenizer.json"), "words");
    Files.createDirectories(model.resolve("trainer"));
    return model;
  }

  @Test
  void whatBelongsToTheModelIsWritten() throws IOException {
    try (Native memory = new Native()) {
      Path model = model(memory, 40);
      Path out = dir.resolve("out");
      try (Safetensors weights = Safetensors.open(model)) {
        ModelExport.write(model, weights, "{}", out);
      }
      assertEquals("{}", Files.readString(out.resolve("config.json")));
      assertEquals("words", Files.readString(out.resolve("tokenizer.json")));
      assertFalse(Files.exists(out.resolve("trainer")));
      try (Safetensors copy = Safetensors.open(out);
          Safetensors original = Safetensors.open(model)) {
        assertEquals(original.shapes(), copy.shapes());
        copy.verify();
      }
    }
  }

  @Test
  void damagedWeightsLeaveNothing() throws IOException {
    try (Native memory = new Native()) {
      Path model = model(memory, 1000);
      Path file = model.resolve("model.safetensors");
      byte[] bytes = Files.readAllBytes(file);
      ByteBuffer.wrap(bytes).putInt(bytes.length - 4, 0x0000807f);
      Files.write(file, bytes);
      Path out = dir.resolve("out");
      try (Safetensors weights = Safetensors.open(model)) {
        UserError error =
            assertThrows(UserError.class, () -> ModelExport.write(model, weights, "{}", out));
        assertTrue(error.getMessage().contains("tensor b: element [9] is Infinity"));
      }
      assertFalse(Files.exists(out));
      assertFalse(Files.exists(dir.resolve("out.tmp")));
    }
  }

  @Test
  void anExistingFolderIsLeftAlone() throws IOException {
    try (Native memory = new Native()) {
      Path model = model(memory, 1000);
      try (Safetensors weights = Safetensors.open(model)) {
        UserError error =
            assertThrows(UserError.class, () -> ModelExport.write(model, weights, "{}", dir));
        assertEquals(dir + ": exists already; choose another name", error.getMessage());
      }
    }
  }
}
