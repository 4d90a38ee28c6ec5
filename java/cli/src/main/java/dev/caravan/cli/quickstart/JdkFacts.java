package dev.caravan.cli.quickstart;

import java.time.Instant;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Currency;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What this JDK knows of countries, currencies, languages, time zones and letters, and products of
 * small numbers with the steps to them. Names come from its locale data, so another JDK may know a
 * few facts differently.
 */
final class JdkFacts {
  private static final Pattern PLAIN_NAME = Pattern.compile("[A-Z][a-z]+( [A-Z][a-z]+)?");
  private static final Pattern CITY =
      Pattern.compile("(?:Africa|America|Asia|Australia|Europe)/([A-Z][a-z]{3,})");
  private static final Pattern LETTER =
      Pattern.compile("(?:GREEK SMALL|HEBREW|ARMENIAN SMALL|GEORGIAN) LETTER ([A-Z]{2,})");

  /** Any instant does; offsets are the standard ones, without daylight saving. */
  private static final Instant WHEN = Instant.parse("2021-01-15T00:00:00Z");

  private static final int SECONDS_PER_HOUR = 3600;
  private static final int FIRST_LETTER = 0x370;
  private static final int LAST_LETTER = 0x10FF;
  private static final int LEAST_FACTOR = 2;
  private static final int LARGEST_FACTOR = 12;
  private static final long SEED = 20261121;

  private JdkFacts() {}

  /** Country to the name of its currency. */
  static List<Fact> currencies() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String code : Locale.getISOCountries()) {
      Currency currency = currencyOf(code);
      String name = currency == null ? "" : currency.getDisplayName(Locale.ENGLISH);
      put(facts, country(code, Locale.ENGLISH), name, name.matches("[A-Za-z ]+"));
    }
    return some(facts, 100);
  }

  /** Country to its two letters in ISO 3166. */
  static List<Fact> countryCodes() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String code : Locale.getISOCountries()) {
      put(facts, country(code, Locale.ENGLISH), code, currencyOf(code) != null);
    }
    return some(facts, 100);
  }

  /** Country to its German name, where that is another one. */
  static List<Fact> germanNames() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String code : Locale.getISOCountries()) {
      String english = country(code, Locale.ENGLISH);
      String german = country(code, Locale.GERMAN);
      put(facts, english, german, !german.equals(english) && german.matches("\\p{L}+"));
    }
    return some(facts, 70);
  }

  /** Name of a currency to its three letters in ISO 4217. */
  static List<Fact> currencyCodes() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String country : Locale.getISOCountries()) {
      Currency currency = currencyOf(country);
      if (currency != null) {
        put(facts, currency.getDisplayName(Locale.ENGLISH), currency.getCurrencyCode(), true);
      }
    }
    return some(facts, 80);
  }

  /** Language to its two letters in ISO 639. */
  static List<Fact> languageCodes() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String code : Locale.getISOLanguages()) {
      Locale language = new Locale.Builder().setLanguage(code).build();
      // Java still lists a few withdrawn codes, which it maps to the present ones.
      put(
          facts,
          language.getDisplayLanguage(Locale.ENGLISH),
          code,
          code.length() == 2 && language.toLanguageTag().equals(code));
    }
    return some(facts, 80);
  }

  /** City of the time zone database to the standard offset of its clocks, whole hours. */
  static List<Fact> offsets() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (String id : new TreeSet<>(ZoneId.getAvailableZoneIds())) {
      Matcher city = CITY.matcher(id);
      if (city.matches()) {
        int seconds = ZoneId.of(id).getRules().getStandardOffset(WHEN).getTotalSeconds();
        String offset = String.format(Locale.ROOT, "UTC%+d", seconds / SECONDS_PER_HOUR);
        put(facts, city.group(1), offset, seconds % SECONDS_PER_HOUR == 0);
      }
    }
    return some(facts, 90);
  }

  /** Letter of another script to its name in Unicode. */
  static List<Fact> letters() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (int c = FIRST_LETTER; c <= LAST_LETTER; c++) {
      String name = Character.getName(c);
      Matcher letter = LETTER.matcher(name == null ? "" : name);
      if (letter.matches()) {
        facts.put(Character.toString(c), letter.group(1).toLowerCase(Locale.ROOT));
      }
    }
    return some(facts, 90);
  }

  /** Two numbers, the smaller one first, to the steps that end with their product. */
  static List<Fact> products() {
    Map<String, String> facts = new LinkedHashMap<>();
    for (int a = LEAST_FACTOR; a <= LARGEST_FACTOR; a++) {
      for (int b = a; b <= LARGEST_FACTOR; b++) {
        facts.put(a + " times " + b, steps(a, b));
      }
    }
    return some(facts, facts.size());
  }

  /**
   * The larger factor is parted into the largest of 10, 5, 2 and 1 below it and what is left, as in
   * "7 times 10 is 70, 7 times 2 is 14, 70 and 14 is 84".
   */
  static String steps(int a, int b) {
    int one = b > 10 ? 10 : b > 5 ? 5 : b > 2 ? 2 : 1;
    int left = b - one;
    return "%d times %d is %d, %d times %d is %d, %d and %d is %d"
        .formatted(a, one, a * one, a, left, a * left, a * one, a * left, a * b);
  }

  private static Currency currencyOf(String country) {
    try {
      return Currency.getInstance(new Locale.Builder().setRegion(country).build());
    } catch (IllegalArgumentException e) {
      return null; // a territory without one that the JDK would know
    }
  }

  private static String country(String code, Locale language) {
    return new Locale.Builder().setRegion(code).build().getDisplayCountry(language);
  }

  private static void put(Map<String, String> facts, String subject, String answer, boolean good) {
    if (good && PLAIN_NAME.matcher(subject).matches()) {
      facts.putIfAbsent(subject, answer);
    }
  }

  /** At most {@code count} facts, chosen and ordered by chance that is always the same. */
  private static List<Fact> some(Map<String, String> facts, int count) {
    List<Fact> all = new ArrayList<>();
    facts.forEach((subject, answer) -> all.add(new Fact(subject, answer)));
    Collections.shuffle(all, new Random(SEED));
    return List.copyOf(all.subList(0, Math.min(count, all.size())));
  }
}
