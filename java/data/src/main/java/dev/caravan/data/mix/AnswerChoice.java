package dev.caravan.data.mix;

import java.util.List;

/**
 * The answers among which a row chooses, as training would have it say them.
 *
 * @param ids token ids of each, without the end token; at least one
 * @param texts the same in words
 * @param right the number of the right one, from 0
 */
public record AnswerChoice(int[][] ids, List<String> texts, int right) {
  /** Tokens of the longest. */
  int longest() {
    int longest = 0;
    for (int[] answer : ids) {
      longest = Math.max(longest, answer.length);
    }
    return longest;
  }
}
