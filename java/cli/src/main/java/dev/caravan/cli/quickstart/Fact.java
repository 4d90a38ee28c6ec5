package dev.caravan.cli.quickstart;

/**
 * One thing that the JDK knows.
 *
 * @param subject what it is about, for example Japan
 * @param answer what is known of it, for example Japanese Yen
 */
record Fact(String subject, String answer) {
  /** The fact in the words of a pattern, in which {x} is the subject and {y} the answer. */
  String in(String pattern) {
    return pattern.replace("{x}", subject).replace("{y}", answer);
  }
}
