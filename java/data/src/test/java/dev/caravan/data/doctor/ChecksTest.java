package dev.caravan.data.doctor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.data.Row;
import dev.caravan.data.RowStore;
import dev.caravan.data.mix.MixtureReport;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.IntFunction;
import org.junit.jupiter.api.Test;

class ChecksTest {
  private static final int NO = Row.NO_TARGET;

  /** Begins with 1, ends with {@code eos}. */
  private record Marks(int eos) implements Tokenizer {
    @Override
    public int vocabSize() {
      return 100;
    }

    @Override
    public int bosId() {
      return 1;
    }

    @Override
    public int eosId() {
      return eos;
    }

    @Override
    public int padId() {
      return NONE;
    }

    @Override
    public boolean addsBos() {
      return true;
    }

    @Override
    public OptionalInt id(String piece) {
      return OptionalInt.empty();
    }

    @Override
    public int[] encode(String text) {
      throw new UnsupportedOperationException();
    }

    @Override
    public int[] encodeContinuation(String text) {
      throw new UnsupportedOperationException();
    }

    @Override
    public String decode(int[] ids) {
      throw new UnsupportedOperationException();
    }

    @Override
    public void close() {}
  }

  private static List<Finding> rows(Tokenizer tokenizer, Row... rows) {
    return RowCheck.of(RowStore.of(List.of(rows)), rows.length, tokenizer);
  }

  private static Row row(int[] ids, int... labels) {
    return new Row(ids, labels, 0);
  }

  private static final Row GOOD = row(new int[] {1, 5, 6, 2}, NO, NO, 6, 2);

  @Test
  void goodRowsHaveNoFindings() {
    assertEquals(List.of(), rows(new Marks(2), GOOD, row(new int[] {1, 5, 6}, NO, 5, 6)));
    assertEquals(List.of(), rows(null, GOOD));
  }

  @Test
  void aTokenizerWithoutAnEndTokenIsSerious() {
    Finding finding = rows(new Marks(Tokenizer.NONE), GOOD).get(0);
    assertEquals("no-end-token", finding.check());
    assertTrue(finding.isSerious());
    assertTrue(finding.toString().contains("name one in tokenizer_config.json"));
  }

  @Test
  void answersThatDoNotEndAreNamed() {
    Row endless = row(new int[] {1, 5, 6, 7}, NO, NO, 6, 7);
    List<Finding> few = rows(new Marks(2), GOOD, GOOD, endless);
    assertEquals("endless", few.get(0).check());
    assertFalse(few.get(0).isSerious());
    assertTrue(few.get(0).what().startsWith("1 of 3 answers"));
    assertTrue(rows(new Marks(2), GOOD, endless, endless).get(0).isSerious());
    // Behind the end token a template may have a line's end.
    assertEquals(List.of(), rows(new Marks(2), row(new int[] {1, 5, 2, 7}, NO, NO, 2, 7)));
  }

  @Test
  void rowsThatBeginTwiceAreSerious() {
    Row twice = row(new int[] {1, 1, 6, 2}, NO, NO, 6, 2);
    Finding finding = rows(new Marks(2), GOOD, twice).get(0);
    assertEquals("double-bos", finding.check());
    assertTrue(finding.isSerious());
    assertTrue(finding.what().startsWith("1 of 2 rows"), finding.what());
  }

  @Test
  void shiftedLabelsAreNamed() {
    Row shifted = row(new int[] {1, 5, 6, 2}, 5, 6, 2, NO);
    Finding finding = rows(null, GOOD, shifted).get(0);
    assertEquals("labels", finding.check());
    assertFalse(finding.isSerious());
    assertTrue(rows(null, shifted, shifted, GOOD).get(0).isSerious());
  }

  @Test
  void rowsThatTeachNothingAreCountedWithTheirReason() {
    List<Finding> findings =
        LossCheck.of(
            List.of(
                new LossCheck.Counts("a.jsonl", 100, 4, 40, 3, 6),
                new LossCheck.Counts("b.jsonl", 100, 0, 0, 0, 0),
                new LossCheck.Counts("c.jsonl", 10, 10, 50, 6, 0)));
    assertEquals(5, findings.size());
    assertEquals("no-target", findings.get(0).check());
    assertFalse(findings.get(0).isSerious());
    assertTrue(findings.get(0).what().startsWith("3 of 100 rows (3.0 %)"));
    assertEquals("cut-target", findings.get(1).check());
    // 6 of 210 rows are few, 6 of a file's 10 are not.
    assertFalse(findings.get(1).isSerious());
    assertTrue(findings.get(1).advice().contains("sequence.length"));
    assertTrue(findings.get(2).what().endsWith("are cut, by 10 tokens each"));
    assertEquals("c.jsonl", findings.get(3).where());
    assertTrue(findings.get(3).isSerious());
    assertFalse(findings.get(4).isSerious());
    assertTrue(
        LossCheck.of(List.of(new LossCheck.Counts("a.jsonl", 100, 0, 0, 0, 6))).get(0).isSerious());
  }

  @Test
  void tasksThatRepeatOrNeverComeAreNamed() {
    List<Finding> findings =
        RateCheck.of(
            new MixtureReport(
                "all",
                "",
                1000,
                List.of(
                    new MixtureReport.Line("often", 10, 0, 0, 0.5, 50, 5, 0.5, 0.5, 0, 0),
                    new MixtureReport.Line("fine", 1000, 0, 0, 0.5, 0.5, 5, 0.5, 0.5, 0, 0),
                    new MixtureReport.Line("never", 10, 0, 0, 0, 0, 5, 0, 0, 0, 0))));
    assertEquals(2, findings.size());
    assertEquals("task often", findings.get(0).where());
    assertTrue(findings.get(0).what().contains("50.0 times"));
    assertEquals("task never", findings.get(1).where());
  }

  /** Findings about rows whose prompt and target come from {@code row}. */
  private static List<Finding> options(int rows, IntFunction<String[]> row) {
    OptionCheck check = new OptionCheck();
    for (int i = 0; i < rows; i++) {
      check.add("a.jsonl", "a.jsonl:" + (i + 1), row.apply(i)[0], row.apply(i)[1]);
    }
    return check.findings();
  }

  private static String[] question(int i, int right, String target) {
    List<String> options = new ArrayList<>(List.of("wet " + i, "dry " + i, "new " + i));
    options.set(right, "red " + i);
    return new String[] {
      "What is " + i + "?\nOPTIONS:\n- %s\n- %s\n- %s".formatted(options.toArray()), target
    };
  }

  @Test
  void anAnswerThatIsAlwaysAtOnePlaceIsSerious() {
    List<Finding> always = options(40, i -> question(i, 1, "red " + i));
    assertEquals(1, always.size());
    assertTrue(always.get(0).isSerious());
    assertEquals("a.jsonl", always.get(0).where());
    assertTrue(always.get(0).what().startsWith("the answer is option 2 in 40 of 40 rows"));
    assertEquals(List.of(), options(40, i -> question(i, i % 3, "red " + i)));
    assertEquals(List.of(), options(19, i -> question(i, 1, "red " + i)));
    List<Finding> sameOptions =
        options(40, i -> new String[] {"Is it?\n(A) yes\n(B) no", i == 7 ? "(B)" : "(A)"});
    assertEquals(1, sameOptions.size());
    assertFalse(sameOptions.get(0).isSerious());
  }

  @Test
  void answersAreKnownByTextLabelOrBoth() {
    OptionList list = OptionList.of("Which?\nA. one thing\nB. Two.\nC. three\nAnswer:");
    assertEquals(List.of("A", "B", "C"), list.labels());
    assertEquals(0, list.indexOf(" One  thing"));
    assertEquals(1, list.indexOf("B"));
    assertEquals(1, list.indexOf("two"));
    assertEquals(2, list.indexOf("(C) three"));
    assertEquals(-1, list.indexOf("four"));
    assertTrue(OptionList.of("1. alone").isEmpty());
    assertTrue(OptionList.of("no options\nat all").isEmpty());
    OptionList spaced = OptionList.of("Which?\nOptions:\n\n- A: one\n\n- B: two\n\n- C: three\n\n");
    assertEquals(List.of("A", "B", "C"), spaced.labels());
    assertEquals(List.of("one", "two", "three"), spaced.texts());
    OptionList ten = OptionList.of("8. h\n9. i\n10. j");
    assertEquals(List.of("h", "i", "j"), ten.texts());
    assertEquals(1, OptionList.of("[A] one\n[B] two\n").indexOf("[B]"));
    assertEquals(1, OptionList.of("A - one\nB - two\n").indexOf("B"));
    // What is asked and answered is no list, nor part of one.
    assertTrue(OptionList.of("Q: Which?\nA: one\n\nQ: What?\nA:").isEmpty());
    assertEquals(
        List.of("one", "two"), OptionList.of("Q: Which?\nA: one\nB: two\nAnswer:").texts());
    // The last list counts: earlier ones are those of examples.
    assertEquals(List.of("c", "d"), OptionList.of("- a\n- b\n\n- c\n- d\n").texts());
  }

  @Test
  void optionsThatAreWrongOrTwiceAreNamed() {
    List<Finding> none = options(40, i -> question(i, i % 3, i == 5 ? "blue" : "red " + i));
    assertEquals(1, none.size());
    assertEquals("a.jsonl:6", none.get(0).where());
    assertTrue(none.get(0).what().contains("none of the options in 1 of 40"));
    List<Finding> twice =
        options(
            40,
            i -> i == 5 ? new String[] {"?\n- a\n- b\n- a", "b"} : question(i, i % 3, "red " + i));
    assertEquals(1, twice.size());
    assertTrue(twice.get(0).what().startsWith("two options are the same in 1 of 40"));
    // A list that is no choice.
    assertEquals(List.of(), options(40, i -> question(i, 1, "a summary of " + i)));
  }

  @Test
  void theLongestOptionGivesItselfAway() {
    List<Finding> findings =
        options(
            30,
            i -> {
              String[] asked = question(i, i % 3, "red " + i + " and more");
              return new String[] {
                asked[0].replace("red " + i, "red " + i + " and more"), asked[1]
              };
            });
    assertEquals(1, findings.size());
    assertTrue(findings.get(0).what().contains("longest option in 30 of 30"));
  }

  @Test
  void aPromptThatEndsWithItsAnswerIsNamed() {
    List<Finding> findings =
        options(
            20, i -> new String[] {"Q" + i + "? Answer: it is " + i, i < 4 ? "it is " + i : "no"});
    assertEquals(1, findings.size());
    assertEquals("a.jsonl:1", findings.get(0).where());
    assertTrue(findings.get(0).what().contains("in 4 of 20 rows"));
    assertEquals(
        List.of(), options(20, i -> new String[] {"Q? A: it is", i < 2 ? "it is" : "what"}));
  }
}
