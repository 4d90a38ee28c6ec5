package dev.caravan.data;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** Which room may know which: a line of data passes through them in one direction. */
@AnalyzeClasses(packages = "dev.caravan", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
  @ArchTest
  static final ArchRule roomsKnowOnlyThoseBeforeThem =
      layeredArchitecture()
          .consideringOnlyDependenciesInLayers()
          .layer("base")
          .definedBy("dev.caravan.data")
          .layer("source")
          .definedBy("dev.caravan.data.source..")
          .layer("tokenize")
          .definedBy("dev.caravan.data.tokenize..")
          .layer("template")
          .definedBy("dev.caravan.data.template..")
          .layer("task")
          .definedBy("dev.caravan.data.task..")
          .layer("mixture")
          .definedBy("dev.caravan.data.mixture..")
          .layer("mix")
          .definedBy("dev.caravan.data.mix..")
          .layer("pack")
          .definedBy("dev.caravan.data.pack..")
          .layer("doctor")
          .definedBy("dev.caravan.data.doctor..")
          .whereLayer("source")
          .mayOnlyBeAccessedByLayers("template", "task", "mix", "doctor")
          .whereLayer("tokenize")
          .mayOnlyBeAccessedByLayers("template", "task", "mix", "doctor")
          .whereLayer("template")
          .mayOnlyBeAccessedByLayers("task", "mix")
          .whereLayer("task")
          .mayOnlyBeAccessedByLayers("mix")
          .whereLayer("mixture")
          .mayOnlyBeAccessedByLayers("mix", "pack")
          .whereLayer("mix")
          .mayOnlyBeAccessedByLayers("doctor")
          .whereLayer("doctor")
          .mayNotBeAccessedByAnyLayer()
          .whereLayer("pack")
          .mayNotBeAccessedByAnyLayer();

  @ArchTest
  static final ArchRule knowsNoDevice =
      noClasses()
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("org.bytedeco..", "dev.caravan.kernels..", "dev.caravan.train..");
}
