package dev.caravan.cli.quickstart;

import java.util.List;

/**
 * Facts of one kind and the words for them. In the patterns {x} is the subject and {y} the answer;
 * the subject has a space before it and the answer comes last, so both are always the same tokens.
 *
 * @param name of the kind
 * @param statements plain sentences that state a fact, for the base's corpus
 * @param asked instructions that tuning uses
 * @param heldOut instructions that tuning never uses
 * @param facts the facts
 */
record Family(
    String name,
    List<String> statements,
    List<String> asked,
    List<String> heldOut,
    List<Fact> facts) {}
