package dev.caravan;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import org.junit.jupiter.api.Test;

/** The arrows of java/README.md: who may import whom. */
class ArchitectureTest {
  private static final String[] ROOMS = {
    "kernels", "tensor", "ops", "graph", "parallel", "nn", "model", "optim", "checkpoint", "train",
    "eval", "study", "bench"
  };

  private static final JavaClasses CORE =
      new ClassFileImporter()
          .withImportOption(new ImportOption.DoNotIncludeTests())
          .importPackages("dev.caravan");

  /** The room reads nothing of ours but these. */
  private static void room(String name, String... allowed) {
    for (String other : ROOMS) {
      if (!other.equals(name) && !java.util.List.of(allowed).contains(other)) {
        noClasses()
            .that()
            .resideInAPackage("dev.caravan." + name + "..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("dev.caravan." + other + "..")
            .allowEmptyShould(true)
            .check(CORE);
      }
    }
  }

  @Test
  void roomsImportOnlyWhatLiesBelow() {
    room("kernels");
    room("tensor", "kernels");
    room("ops", "kernels", "tensor");
    room("graph", "kernels", "tensor", "ops");
    room("parallel", "kernels", "tensor", "ops", "graph");
    room("nn", "kernels", "tensor", "ops", "graph");
    room("model", "kernels", "tensor", "ops", "graph", "nn", "parallel");
    room("optim", "kernels", "tensor", "graph");
    room("checkpoint", "kernels");
    room("train", "kernels", "tensor", "ops", "graph", "nn", "model", "optim", "parallel", "checkpoint");
    room("eval", "kernels", "tensor", "ops", "graph", "nn", "model", "optim", "parallel", "checkpoint", "train");
    room(
        "study", "kernels", "tensor", "ops", "graph", "nn", "model", "optim", "parallel", "checkpoint", "train",
        "eval");
    room("bench", "kernels", "tensor", "ops", "graph", "nn", "model", "optim", "parallel", "train");
  }

  @Test
  void dataKnowsNoDevice() {
    noClasses()
        .that()
        .resideInAPackage("dev.caravan.data..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage("dev.caravan.kernels..", "dev.caravan.tensor..", "org.bytedeco..")
        .check(CORE);
  }

  @Test
  void onlyTheBindingNamesJavaCpp() {
    noClasses()
        .that()
        .resideOutsideOfPackage("dev.caravan.kernels..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage("org.bytedeco..")
        .check(CORE);
  }
}
