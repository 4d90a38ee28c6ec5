package dev.caravan.eval.metric;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AnswerTextTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "So the answer is (B). | (B)",
        "So the answer is } ] >. | } ] >",
        "The Answer is: yes | yes",
        "9 * 2 = 18 #### 18 | 18",
        "the answer is 3. Then the answer is 4. | 3. Then the answer is 4",
        "no marker here | ",
      })
  void theAnswerStandsBehindTheMarker(String text, String expected) {
    assertEquals(Optional.ofNullable(expected), AnswerText.afterMarker(text));
  }

  @Test
  void theAnswerEndsWithItsLine() {
    assertEquals(
        Optional.of("7"), AnswerText.afterMarker("So the answer is 7.\n\nQ: the answer is 8"));
    assertEquals(Optional.of(""), AnswerText.afterMarker("the answer is"));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "the answer is $1,250.00. | 1250 | 1250",
        "the answer is -3 degrees | -3 | -3",
        "I count 4 and 5 | | 5",
        "#### 70,000 | 70000 | 70000",
        "the answer is about 0.50 or 2 | 0.5 | 2",
        "none | | ",
      })
  void numbersAreCompared(String text, String behindMarker, String last) {
    assertEquals(Optional.ofNullable(behindMarker), AnswerText.numberAfterMarker(text));
    assertEquals(Optional.ofNullable(last), AnswerText.lastNumber(text));
  }

  @Test
  void theMajorityIsTheMostFrequentAnswerAndOfEqualsTheFirst() {
    Optional<String> a = Optional.of("18");
    Optional<String> b = Optional.of("20");
    Optional<String> none = Optional.empty();
    assertEquals(b, Averages.majority(List.of(a, b, none, b, none, none)));
    assertEquals(a, Averages.majority(List.of(a, b, b, a)));
    assertEquals(none, Averages.majority(List.of(none, none)));
  }

  /** Flan-T5-XL's normalised average from its table (arXiv 2210.11416, table 5), for MMLU alone. */
  @Test
  void chanceIsTheNewZero() {
    assertEquals(0, Averages.overChance(25, 25));
    assertEquals(100, Averages.overChance(100, 25));
    assertEquals(100 * 27.4 / 75, Averages.overChance(52.4, 25), 1e-12);
    assertEquals(-14, Averages.overChance(14.5, 25), 1e-12);
  }
}
