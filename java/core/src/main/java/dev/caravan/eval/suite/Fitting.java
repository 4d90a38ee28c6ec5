package dev.caravan.eval.suite;

import dev.caravan.data.UserError;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToIntFunction;

/**
 * Puts the questions of a paper into token ids, with as many exemplars as the model's context
 * holds.
 */
final class Fitting {
  /**
   * A question as it is put.
   *
   * @param question which
   * @param number its place in the paper
   * @param text the prompt
   * @param ids the prompt's token ids
   */
  record Put(Question question, int number, String text, int[] ids) {}

  private final Tokenizer tokenizer;
  private final int context;
  private final ExaminerOptions.TooLong tooLong;
  private final List<Put> put = new ArrayList<>();
  private int fewerShots;
  private int skipped;

  private Fitting(Tokenizer tokenizer, int context, ExaminerOptions.TooLong tooLong) {
    this.tokenizer = tokenizer;
    this.context = context;
    this.tooLong = tooLong;
  }

  /**
   * Fits all questions.
   *
   * @param context tokens that the model can hold
   * @param room tokens that a question needs behind its prompt
   * @throws UserError if one does not fit and that is not allowed
   */
  static Fitting of(
      Paper paper,
      Tokenizer tokenizer,
      int context,
      ExaminerOptions.TooLong tooLong,
      ToIntFunction<Question> room) {
    Fitting fitting = new Fitting(tokenizer, context, tooLong);
    int shots = Integer.MAX_VALUE;
    String group = null;
    int number = 0;
    for (Question question : paper.questions()) {
      if (!question.group().equals(group)) {
        shots = Integer.MAX_VALUE;
        group = question.group();
      }
      shots = fitting.fit(question, number++, shots, room.applyAsInt(question));
    }
    if (fitting.put.isEmpty()) {
      throw new UserError(
          paper.name() + ": no question fits the model's context of " + context + " tokens");
    }
    return fitting;
  }

  List<Put> put() {
    return put;
  }

  Result.Counts counts(int cut) {
    return new Result.Counts(fewerShots, skipped, cut);
  }

  /**
   * Neighbours need about as many exemplars less, so the search begins where the last one ended.
   */
  private int fit(Question question, int number, int hint, int room) {
    Prompt prompt = question.prompt();
    int most = prompt.exemplars().size();
    int shots = Math.min(hint, most);
    int[] ids = encode(prompt.text(shots));
    while (ids.length + room > context && shots > 0) {
      if (tooLong == ExaminerOptions.TooLong.FAIL) {
        ids = encode(prompt.text());
        throw error(question, ids.length, room, "--too-long fewer-shots leaves exemplars out");
      }
      ids = encode(prompt.text(--shots));
    }
    if (ids.length + room > context) {
      if (tooLong != ExaminerOptions.TooLong.SKIP) {
        throw error(question, ids.length, room, "--too-long skip leaves such questions out");
      }
      skipped++;
      return hint;
    }
    while (shots < most) {
      int[] more = encode(prompt.text(shots + 1));
      if (more.length + room > context) {
        break;
      }
      ids = more;
      shots++;
    }
    fewerShots += shots < most ? 1 : 0;
    put.add(new Put(question, number, prompt.text(shots), ids));
    return shots;
  }

  private UserError error(Question question, int tokens, int room, String remedy) {
    return new UserError(
        question.where()
            + ": the prompt has "
            + tokens
            + " tokens and needs "
            + room
            + " for the answer, the model's context is "
            + context
            + "; "
            + remedy);
  }

  private int[] encode(String text) {
    int[] ids = tokenizer.encode(text, tokenizer.addsBos());
    // A sequence has to begin with something before its first scored token.
    boolean begin = ids.length == 0 && tokenizer.eosId() != Tokenizer.NONE;
    return begin ? new int[] {tokenizer.eosId()} : ids;
  }
}
