package dev.caravan.eval.suite;

import dev.caravan.eval.suite.Rows.Row;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A multiple-choice question that was written as an instruction: "Please ...: QUESTION", an empty
 * line, "Answer1: ... Answer2: ...", "Answer format: answer1/answer2", and the right one's name.
 *
 * @param question the question alone
 * @param options its options; empty where the format is true/false
 * @param answer the right one, from 0; of true/false, true is 1
 */
record InstructionRow(String question, List<String> options, int answer) {
  private static final Pattern LABEL = Pattern.compile("(?:Answer|Option|Ending|Solution)(\\d+): ");

  static boolean is(Row row) {
    return row.fields().hasNonNull("instruction") && row.fields().hasNonNull("answer");
  }

  static InstructionRow of(Row row) {
    String text = row.text("instruction");
    int format = text.lastIndexOf("Answer format:");
    if (format < 0) {
      throw row.error("no 'Answer format:' in the instruction");
    }
    Matcher label = LABEL.matcher(text).region(0, format);
    List<Integer> begins = new ArrayList<>();
    List<Integer> ends = new ArrayList<>();
    while (label.find()) {
      if (Integer.parseInt(label.group(1)) == begins.size() + 1) {
        begins.add(label.start());
        ends.add(label.end());
      }
    }
    List<String> options = new ArrayList<>();
    for (int i = 0; i < begins.size(); i++) {
      int end = i + 1 < begins.size() ? begins.get(i + 1) : format;
      options.add(text.substring(ends.get(i), end).strip());
    }
    String before = text.substring(0, options.isEmpty() ? format : begins.get(0)).strip();
    String question = before.replaceFirst("(?s)^Please .*?(?:: |, question: )(?=\\S)", "").strip();
    return new InstructionRow(question, options, answer(row, options.size()));
  }

  private static int answer(Row row, int options) {
    String answer = row.text("answer").strip();
    if (options == 0 && (answer.equals("true") || answer.equals("false"))) {
      return answer.equals("true") ? 1 : 0;
    }
    String digits = answer.replaceFirst("^\\D+", "");
    int index = digits.matches("[0-9]{1,2}") ? Integer.parseInt(digits) - 1 : -1;
    if (index < 0 || index >= options) {
      throw row.error("'answer' is '" + answer + "', but there are " + options + " options");
    }
    return index;
  }
}
