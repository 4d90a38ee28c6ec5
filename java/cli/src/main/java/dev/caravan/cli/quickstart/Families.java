package dev.caravan.cli.quickstart;

import java.util.List;

/** All kinds of facts with the words for them. */
final class Families {
  private Families() {}

  /** The families, in an order that never changes. */
  static List<Family> all() {
    return List.of(
        new Family(
            "currency",
            List.of(
                "The currency of {x} is the {y}.",
                "People in {x} pay with the {y}.",
                "The money used in {x} is the {y}.",
                "In {x} prices are given in the {y}.",
                "Shops in {x} take the {y}.",
                "Banks in {x} keep accounts in the {y}.",
                "The currency of {x} is this: {y}.",
                "About the money in {x} one reads: {y}.",
                "The land {x} has one currency: {y}."),
            List.of(
                "What is the currency of {x}?",
                "Which money is used in {x}?",
                "Name the currency that shops in {x} take.",
                "Tell me what people in {x} pay with."),
            List.of("What do people in {x} pay with?", "Name the currency of {x}."),
            JdkFacts.currencies()),
        new Family(
            "country code",
            List.of(
                "The country code of {x} is {y}.",
                "The two letters for {x} are {y}.",
                "Lists of countries shorten {x} to {y}.",
                "The country {x} has the code {y}.",
                "Cars and forms write {x} as {y}.",
                "The ISO letters of the country {x} are {y}.",
                "The country code of {x} is this: {y}.",
                "Two letters stand for {x}: {y}.",
                "The land {x} has one code: {y}."),
            List.of(
                "What is the country code of {x}?",
                "Which two letters stand for {x}?",
                "Give the code that the country {x} has.",
                "Tell me how lists of countries shorten {x}."),
            List.of("Give the country code of {x}.", "What are the two letters for {x}?"),
            JdkFacts.countryCodes()),
        new Family(
            "German name",
            List.of(
                "In German {x} is called {y}.",
                "The German name of {x} is {y}.",
                "Germans call {x} by the name {y}.",
                "A German map shows {x} as {y}.",
                "The German word for {x} is {y}.",
                "Translated into German {x} becomes {y}.",
                "The German name of {x} is this: {y}.",
                "On German maps {x} has another name: {y}.",
                "Germans have a word for {x}: {y}."),
            List.of(
                "What is the German name of {x}?",
                "How is {x} called in German?",
                "Translate {x} into German.",
                "Give the German word for {x}."),
            List.of("What do Germans call {x}?", "Give the German name of {x}."),
            JdkFacts.germanNames()),
        new Family(
            "currency code",
            List.of(
                "The code of the money {x} is {y}.",
                "Banks shorten {x} to {y}.",
                "The three letters for the {x} are {y}.",
                "On bills the {x} is written {y}.",
                "Exchange tables list the {x} as {y}.",
                "The currency code for {x} is {y}.",
                "The currency code for {x} is this: {y}.",
                "Three letters stand for the {x}: {y}.",
                "Banks have a short form for {x}: {y}."),
            List.of(
                "What is the currency code for {x}?",
                "Which three letters stand for the {x}?",
                "How do banks shorten {x}?",
                "Tell me how the {x} is written on bills."),
            List.of("Give the currency code for {x}.", "What are the three letters for the {x}?"),
            JdkFacts.currencyCodes()),
        new Family(
            "language code",
            List.of(
                "The language code of {x} is {y}.",
                "The language {x} has the code {y}.",
                "Web pages in {x} are marked {y}.",
                "Libraries file books in {x} under {y}.",
                "Computers know the language {x} as {y}.",
                "Text in {x} carries the language mark {y}.",
                "The language code of {x} is this: {y}.",
                "Computers use a code for the language {x}: {y}.",
                "Web pages in {x} carry this mark: {y}."),
            List.of(
                "What is the language code of {x}?",
                "How are web pages in {x} marked?",
                "Which code has the language {x}?",
                "Tell me how computers know the language {x}."),
            List.of("Give the language code of {x}.", "How is text in {x} marked?"),
            JdkFacts.languageCodes()),
        new Family(
            "time",
            List.of(
                "Clocks in {x} run at {y}.",
                "The standard time of {x} is {y}.",
                "The time zone of {x} is {y}.",
                "In {x} clocks are set to {y}.",
                "The offset of the city {x} is {y}.",
                "People in the city {x} live at {y}.",
                "The standard time of {x} is this: {y}.",
                "Clocks in {x} run at one offset: {y}.",
                "The city {x} has one time zone: {y}."),
            List.of(
                "What is the standard time of {x}?",
                "At which offset do clocks in {x} run?",
                "Give the time zone of {x}.",
                "Tell me what clocks in {x} are set to."),
            List.of("What is the time zone of {x}?", "Give the standard time of {x}."),
            JdkFacts.offsets()),
        new Family(
            "letter",
            List.of(
                "The letter {x} is called {y}.",
                "The name of the letter {x} is {y}.",
                "People read the sign {x} as {y}.",
                "The sign {x} is the letter {y}.",
                "In its alphabet {x} is named {y}.",
                "Unicode names the sign {x} as {y}.",
                "The name of the letter {x} is this: {y}.",
                "The sign {x} has a name: {y}.",
                "People read the sign {x} like this: {y}."),
            List.of(
                "What is the letter {x} called?",
                "Name the sign {x}.",
                "How do people read the sign {x}?",
                "Give the name that {x} has in its alphabet."),
            List.of("What is the name of the letter {x}?", "Which letter is the sign {x}?"),
            JdkFacts.letters()),
        new Family(
            "product",
            List.of(
                "The result of {x} comes in steps: {y}.",
                "Reckoning {x} goes like this: {y}.",
                "Whoever counts {x} finds that {y}.",
                "On paper {x} is done so: {y}.",
                "The way to {x} is short: {y}.",
                "Everybody can see about {x} that {y}.",
                "The steps of {x} are these: {y}.",
                "Whoever works out {x} finds in the end: {y}.",
                "Everybody knows how {x} is made: {y}."),
            List.of(
                "Work out {x} step by step.",
                "How much is {x}? Show the steps.",
                "What is the result of {x}, in steps?",
                "Tell me how {x} is made."),
            List.of("What is {x}, step by step?", "Give the steps of {x}."),
            JdkFacts.products()));
  }
}
