package dev.caravan.eval.suite;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A few invented questions in the form of each benchmark. */
final class Fixtures {
  private Fixtures() {}

  /** Writes them all; each benchmark's folder has the name that its suite looks for. */
  static Path write(Path root) {
    mmlu(root);
    bbh(root);
    mgsm(root);
    tydiqa(root);
    triviaqa(root);
    math(root);
    multipleChoice(root);
    labels(root);
    superni(root);
    return root;
  }

  private static void put(Path root, String name, String text) {
    try {
      Path file = root.resolve(name);
      Files.createDirectories(file.getParent());
      Files.writeString(file, text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void mmlu(Path root) {
    StringBuilder dev = new StringBuilder("question,choice0,choice1,choice2,choice3,answer\n");
    for (int i = 0; i < 5; i++) {
      dev.append("What is ").append(i).append(" + 1?,0,1,2,\"a, b\",").append(i % 4).append('\n');
    }
    put(root, "mmlu/dev/small_sums_dev.csv", dev.toString());
    put(
        root,
        "mmlu/test/small_sums_test.csv",
        "question,choice0,choice1,choice2,choice3,answer\n"
            + "\"Which is \"\"three\"\",\nif any?\",1,2,3,4,2\nWhat is 4 - 4?,0,1,2,3,0\n");
    // As published: no header, letters.
    put(root, "mmlu/dev/colours_dev.csv", "Sky?,red,blue,green,black,B\n".repeat(5));
    put(root, "mmlu/test/colours_test.csv", "Grass?,red,blue,green,black,C\n");
    put(root, "mmlu/val/colours_val.csv", "Coal?,red,blue,green,black,D\n");
  }

  private static void bbh(Path root) {
    put(
        root,
        "bbh/tasks/counting.json",
        """
        {"canary": "c", "examples": [{"input": "One and one?", "target": "2"},
         {"input": "Two and two?", "target": "4"}]}
        """);
    StringBuilder prompts = new StringBuilder("CANARY\n-----\nCount things.\n");
    for (int i = 1; i <= 3; i++) {
      prompts.append(
          """

          Q: %d and none?
          A: Let's think step by step.
          There are %d. So the answer is %d.
          """
              .formatted(i, i, i));
    }
    put(root, "bbh/cot-prompts/counting.txt", prompts.toString());
  }

  private static void mgsm(Path root) {
    put(root, "mgsm/mgsm_en.tsv", "Two ducks and one?\t3\nA thousand and one?\t1,001\n");
    put(root, "mgsm/mgsm_de.tsv", "Zwei Enten und eine?\t3\n");
    String worked = "Drei und %d?\tDrei und %d sind viel. Die Antwort ist 4.\n";
    StringBuilder exemplars = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      exemplars.append(worked.formatted(i, i));
    }
    put(root, "mgsm/exemplars_de.tsv", exemplars.toString());
    put(root, "mgsm/exemplars_en.tsv", exemplars.toString());
  }

  private static void tydiqa(Path root) {
    String form =
        """
        {"data": [{"paragraphs": [{"context": "%s", "qas": [
          {"id": "%s-1", "question": "%s", "answers": [{"text": "%s", "answer_start": 0}]}]}]}]}
        """;
    put(
        root,
        "tydiqa/tydiqa-goldp-dev.jsonl",
        (form.formatted("Der Fluss ist blau.", "finnish", "Welche Farbe?", "blau").replace("\n", "")
            + "\n"
            + form.formatted("The hill is high.", "english", "What is high?", "The hill")
                .replace("\n", "")
            + "\n"));
    put(
        root,
        "tydiqa/tydiqa-goldp-train.jsonl",
        (form.formatted("Das Haus ist alt.", "finnish", "Was ist alt?", "Das Haus")
                .replace("\n", "")
            + "\n"
            + form.formatted("A bird sings.", "english", "Who sings?", "A bird").replace("\n", "")
            + "\n"));
  }

  private static void triviaqa(Path root) {
    String form =
        """
        {"Data": [{"Question": "%s", "Answer": {"Value": "%s", "Aliases": ["%s"],
          "NormalizedAliases": ["a b"]}}]}
        """;
    put(root, "triviaqa/wikipedia-dev.json", form.formatted("Who?", "Mr A", "The A"));
    put(root, "triviaqa/wikipedia-train.json", form.formatted("Where?", "Here", "There"));
  }

  private static void math(Path root) {
    String row =
        "{\"question\": \"%d apples and 1?\", \"answer\": \"%d+1=<<%d+1=%d>>%d\\n#### %d\"}\n";
    StringBuilder train = new StringBuilder();
    for (int i = 0; i < 8; i++) {
      train.append(row.formatted(i, i, i, i + 1, i + 1, i + 1));
    }
    put(root, "gsm8k/train.jsonl", train.toString());
    put(root, "gsm8k/test.jsonl", row.formatted(1999, 1999, 1999, 2000, 2000, 2000));
    put(root, "math/AddSub.json", "[{\"sQuestion\": \" 1 and 1? \", \"lSolutions\": [\"2.0\"]}]");
    put(root, "math/MultiArith.json", "[{\"sQuestion\": \"2 by 3?\", \"lSolutions\": [\"6\"]}]");
    put(
        root,
        "math/AQuA.json",
        """
        [{"sQuestion": "Half of 6?", "options": ["A)1", "B)2", "C)3", "D)4", "E)5"],
          "rationale": "r", "lSolutions": "C"}]
        """);
  }

  private static void multipleChoice(Path root) {
    put(
        root,
        "hellaswag/hellaswag_val.txt",
        "Cooking: A cook takes a pan. The cook\n2\nflies.\nswims off.\nfries an egg.\nis a pan.\n");
    String row =
        """
        {"instruction": "Please choose the correct answer to the question: %s\\n\\n%s \
        Answer format: x", "input": "", "output": "the correct answer is %s", "answer": "%s"}""";
    String answers = "Answer1: ice Answer2: fire Answer3: a hot stone";
    String question = row.formatted("What is hot: really?", answers, "answer2", "answer2");
    put(root, "commonsense/ARC-Easy/test.json", "[" + question + "]");
    put(root, "commonsense/ARC-Easy/train.json", "[" + question + ", " + question + "]");
    String published =
        """
        {"id": "1", "question": {"stem": "What is wet?", "choices": [{"text": "rain", "label": "A"}, \
        {"text": "sand", "label": "B"}]}, "answerKey": "A"}
        """;
    put(root, "commonsense/ARC-Challenge/ARC-Challenge-Test.jsonl", published);
    put(root, "commonsense/ARC-Challenge/ARC-Challenge-Train.jsonl", published);
    put(root, "commonsense/openbookqa/test.json", "[" + question + "]");
    put(
        root,
        "commonsense/boolq/test.json",
        """
        [{"instruction": "Please answer the following question with true or false, question: is \
        rain wet?\\n\\nAnswer format: true/false", "answer": "true"}]
        """);
    put(
        root,
        "commonsense/winogrande/test.json",
        """
        [{"instruction": "Please choose the correct answer to fill in the blank to complete the \
        given sentence: The cup fell on the rug so the _ broke.\\n\\nOption1: cup Option2: rug \
        Answer format: option1/option2", "answer": "option1"}]
        """);
    put(
        root,
        "toxicity_bias/crows_pairs.csv",
        ",sent_more,sent_less,bias_type\n0,\"Some, here\",\"Some, there\",place\n");
  }

  private static void labels(Path root) {
    String labels = "[\"no\", \"yes\"]";
    String row = "{\"sentence\": \"%s\", \"label\": \"%s\"}";
    for (String set : new String[] {"RTE", "CB", "COPA", "QQP"}) {
      put(root, "nlu/" + set + "/labels.json", labels);
      put(root, "nlu/" + set + "/test.json", "[" + row.formatted("Rain is wet.", "yes") + "]");
      put(root, "nlu/" + set + "/train.json", "[" + row.formatted("Sand is wet.", "no") + "]");
    }
  }

  private static void superni(Path root) {
    String task =
        """
        {"Definition": %s, "Categories": ["C"],
         "Positive Examples": [{"input": "1", "output": "one", "explanation": ""},
           {"input": "2", "output": "two", "explanation": ""}, {"input": "3", "output": "three"}],
         "Instances": [%s]}
        """;
    StringBuilder many = new StringBuilder();
    for (int i = 0; i < 103; i++) {
      many.append(i == 0 ? "" : ", ");
      many.append(
          "{\"id\": \"%d\", \"input\": \"%d\", \"output\": [\"n\", \"m\"]}".formatted(i, i));
    }
    put(root, "superni/tasks/task1_names.json", task.formatted("[\"Name it.\"]", many));
    String one = "{\"input\": \"9\", \"output\": \"nine\"}";
    put(root, "superni/tasks/task2_other.json", task.formatted("\"Name it too.\"", one));
    put(root, "superni/splits/default_test_tasks.txt", "task1_names\ntask77_absent\n");
  }
}
