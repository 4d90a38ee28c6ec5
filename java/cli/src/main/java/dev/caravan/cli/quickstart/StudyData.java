package dev.caravan.cli.quickstart;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/**
 * Writes the data of the recipes study-tasks and study-quality from the quick start's facts. The
 * same JDK writes the same bytes.
 */
public final class StudyData {
  /** Kinds of facts of which no cell of the study is ever asked in training. */
  static final List<String> HELD_OUT = List.of("language code", "letter");

  /** Kinds of facts that are trained on, of which those that are not are asked too. */
  static final List<String> UNSEEN = List.of("currency", "product");

  private static final int HELD_OUT_FACTS = 3;
  private static final int CURATED = 400;
  private static final int EVALUATED = 150;
  private static final int GOOD = 1600;
  private static final int POOR = 6400;
  private static final long SEED = 5;

  private static final String[] PHRASES = {
    "Click here to read more.",
    "Subscribe to our list for the best offers.",
    "All rights reserved.",
    "Sign in or create an account to go on.",
    "We use cookies on this site.",
    "Share this page with your friends!",
    "Buy now, pay later!!!",
    "Home | About | Contact | Help",
    "Your cart is empty.",
    "Page not found.",
    "Sort by: price, date, rating",
    "Posted by admin in news, 0 comments"
  };

  private StudyData() {}

  /**
   * Writes both recipes' files.
   *
   * @param args the folder of study-tasks, then that of study-quality
   */
  public static void main(String[] args) throws IOException {
    if (args.length != 2) {
      System.err.println("usage: StudyData TASKS-FOLDER QUALITY-FOLDER");
      System.exit(2);
    }
    tasks(Files.createDirectories(Path.of(args[0])), Families.all());
    quality(Files.createDirectories(Path.of(args[1])), Corpus.documents(Families.all()));
  }

  /**
   * A task for each kind of fact; of those that are trained on, a third of the facts is kept apart.
   */
  private static void tasks(Path folder, List<Family> families) throws IOException {
    for (Family family : families) {
      List<Tasks.Item> rows = new ArrayList<>();
      List<Tasks.Item> apart = new ArrayList<>();
      boolean heldOut = HELD_OUT.contains(family.name());
      for (int i = 0; i < family.facts().size(); i++) {
        Fact fact = family.facts().get(i);
        if (heldOut || i % HELD_OUT_FACTS == 0) {
          String asked = family.asked().get(i % family.asked().size());
          apart.add(new Tasks.Item(fact.in(asked), fact.answer()));
        } else {
          family.asked().forEach(q -> rows.add(new Tasks.Item(fact.in(q), fact.answer())));
        }
      }
      String name = family.name().toLowerCase(java.util.Locale.ROOT).replace(' ', '-');
      if (!heldOut) {
        Collections.shuffle(rows, new Random(SEED));
        QuickstartData.lines(folder, name, QuickstartData.items(rows));
      }
      if (heldOut) {
        QuickstartData.lines(folder, name, QuickstartData.items(apart));
      } else if (UNSEEN.contains(family.name())) {
        QuickstartData.lines(folder, name + "-unseen", QuickstartData.items(apart));
      }
    }
  }

  /**
   * Documents of the corpus, and such as the web has: boilerplate, and the corpus's words in
   * disorder.
   */
  private static void quality(Path folder, List<String> documents) throws IOException {
    Random random = new Random(SEED);
    List<String> shuffled = new ArrayList<>(documents);
    Collections.shuffle(shuffled, random);
    List<String> raw =
        new ArrayList<>(shuffled.subList(CURATED + EVALUATED, CURATED + EVALUATED + GOOD));
    for (int i = 0; i < POOR; i++) {
      raw.add(poor(shuffled.get(CURATED + EVALUATED + GOOD + i), random));
    }
    Collections.shuffle(raw, random);
    text(folder, "curated", shuffled.subList(0, CURATED));
    text(folder, "held-out", shuffled.subList(CURATED, CURATED + EVALUATED));
    text(folder, "raw", raw);
  }

  private static String poor(String document, Random random) {
    int kind = random.nextInt(3);
    if (kind == 0) {
      StringBuilder page = new StringBuilder();
      for (int i = 0; i < 10; i++) {
        page.append(PHRASES[random.nextInt(PHRASES.length)]).append(' ');
      }
      return page.toString().strip();
    }
    List<String> words = new ArrayList<>(Arrays.asList(document.split(" ")));
    Collections.shuffle(words, random);
    String disorder = String.join(" ", words);
    return kind == 1 ? disorder : disorder + " " + PHRASES[random.nextInt(PHRASES.length)];
  }

  private static void text(Path folder, String name, List<String> texts) throws IOException {
    QuickstartData.lines(folder, name, texts.stream().map(t -> QuickstartData.object("text", t)));
  }
}
