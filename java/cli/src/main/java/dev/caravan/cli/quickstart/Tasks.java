package dev.caravan.cli.quickstart;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * The instructions. Of every family some facts are never asked for in tuning, and some phrasings
 * are never used in it.
 *
 * @param tuning facts of which tuning asks, in the phrasings that it uses
 * @param facts facts of which tuning never asks, in a phrasing that it uses
 * @param phrasings facts of which tuning asks, in a phrasing that it never uses
 */
record Tasks(List<Item> tuning, List<Item> facts, List<Item> phrasings) {
  /**
   * An instruction with its answer.
   *
   * @param prompt what is asked
   * @param target the answer
   */
  record Item(String prompt, String target) {}

  /** One of how many facts is held out. */
  private static final int HELD_OUT_FACTS = 3;

  private static final long SEED = 2;

  static Tasks of(List<Family> families) {
    Tasks tasks = new Tasks(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    for (Family family : families) {
      for (int i = 0; i < family.facts().size(); i++) {
        Fact fact = family.facts().get(i);
        if (i % HELD_OUT_FACTS == 0) {
          tasks.facts.add(item(fact, family.asked(), i / HELD_OUT_FACTS));
          continue;
        }
        for (String asked : family.asked()) {
          tasks.tuning.add(new Item(fact.in(asked), fact.answer()));
        }
        if (i % HELD_OUT_FACTS == 1) {
          tasks.phrasings.add(item(fact, family.heldOut(), i / HELD_OUT_FACTS));
        }
      }
    }
    Collections.shuffle(tasks.tuning, new Random(SEED));
    return tasks;
  }

  private static Item item(Fact fact, List<String> phrasings, int turn) {
    return new Item(fact.in(phrasings.get(turn % phrasings.size())), fact.answer());
  }
}
