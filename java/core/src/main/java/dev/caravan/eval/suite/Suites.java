package dev.caravan.eval.suite;

import dev.caravan.data.Nearest;
import java.util.ArrayList;
import java.util.List;

/** The benchmarks that are known. */
public final class Suites {
  private static final List<Suite> ALL = new ArrayList<>();

  static {
    ALL.addAll(List.of(new Mmlu(), new BigBenchHard(), new Mgsm(), new TyDiQa(), new TriviaQa()));
    ALL.addAll(GradeSchoolMath.all());
    ALL.add(new HellaSwag());
    ALL.addAll(ScienceQuestions.all());
    ALL.addAll(List.of(new BoolQ(), new WinoGrande()));
    ALL.addAll(LabelledSentences.all());
    ALL.addAll(List.of(new Aqua(), new CrowsPairs(), new SuperNaturalInstructions()));
  }

  private Suites() {}

  /** All of them, in the order in which they are listed. */
  public static List<Suite> all() {
    return List.copyOf(ALL);
  }

  /**
   * A benchmark by name.
   *
   * @throws dev.caravan.data.UserError if there is none, naming the nearest
   */
  public static Suite named(String name) {
    return Nearest.named("", "suite", name, ALL, Suite::name);
  }
}
