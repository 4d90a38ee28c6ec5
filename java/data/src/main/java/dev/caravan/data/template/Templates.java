package dev.caravan.data.template;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLFactory;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import dev.caravan.data.Nearest;
import dev.caravan.data.UserError;
import dev.caravan.data.source.Format;
import dev.caravan.data.tokenize.Tokenizer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

/** The templates that come with Caravan, and those that users write. */
public final class Templates {
  private static final Map<String, Template> BUNDLED = new LinkedHashMap<>();
  private static final Map<String, List<Template>> GROUPS =
      Map.of("flan-cot-10", Reasoning.reasoned(), "flan-answer-10", Reasoning.direct());
  private static final Set<String> KEYS =
      Set.of("prompt", "prompt_without_input", "target", "exemplar");

  private static final YAMLMapper YAML =
      YAMLMapper.builder(
              YAMLFactory.builder().enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
          .build();

  static {
    bundle("plain", "{prompt}\n", "{target}");
    bundle("verbatim", "{prompt}", "{target}");
    bundle("qa", "Question: {prompt}\nAnswer:", " {target}");
    // The words of Stanford Alpaca (tatsu-lab/stanford_alpaca, train.py, Apache-2.0): checkpoints
    // tuned with them expect them.
    bundle(
        "alpaca",
        "Below is an instruction that describes a task, paired with an input that provides further"
            + " context. Write a response that appropriately completes the request.\n\n"
            + "### Instruction:\n"
            + "{instruction}\n\n"
            + "### Input:\n"
            + "{input}\n\n"
            + "### Response:",
        Optional.of(
            "Below is an instruction that describes a task. "
                + "Write a response that appropriately completes the request.\n\n"
                + "### Instruction:\n{instruction}\n\n### Response:"),
        "{output}");
    // Reasoning before the answer: Kojima et al. 2022 (arXiv 2205.11916) for the prompt, Wei et al.
    // 2022 (2201.11903) for the
    // words before the answer, which evaluation looks for.
    bundle(
        "flan-cot",
        "Q: {question}\nA: Let's think step by step.\n",
        "{rationale} The answer is {answer}.");
    // Inverted: the question, the reasoning, or question and answer are what is learnt.
    bundle(
        "flan-cot-to-question",
        "Reasoning: {rationale}\nAnswer: {answer}\nWhich question is this the answer to?\n",
        "{question}");
    bundle(
        "flan-cot-to-reasoning",
        "Q: {question}\nA: {answer}\nHow is this answer reached?\n",
        "{rationale}");
    bundle(
        "flan-cot-to-both",
        "Reasoning: {rationale}\nWrite a question and an answer that this reasoning leads to.\n",
        "Q: {question}\nA: {answer}");
    bundle("flan-answer", "Q: {question}\nA:", " {answer}");
    // Wang et al. 2022 (arXiv 2204.07705): by definition alone, with two positive examples, as the
    // paper's models were tuned, with two negative ones too, and with what is said about each.
    superni("superni", "");
    superni("superni-2pos", "{examples}");
    superni("superni-2pos-2neg", "{examples}{negatives}");
    superni("superni-2pos-explained", "{examples_explained}");
    superni("superni-2pos-2neg-explained", "{examples_explained}{negatives_explained}");
    for (Template chat :
        List.of(
            new Dialog(),
            ChatMl.plain(),
            ChatMl.qwen2(),
            ChatMl.qwen25(),
            ChatMl.qwen3(),
            Instruct.llama2(),
            new Llama3(),
            Instruct.mistral())) {
      BUNDLED.put(chat.name(), chat);
    }
  }

  private Templates() {}

  /** The names of the bundled templates. */
  public static Set<String> names() {
    return Set.copyOf(BUNDLED.keySet());
  }

  /**
   * The template that {@code data.template} names: a bundled one's name, or a YAML file with the
   * keys prompt and target and, if examples without input want other words, prompt_without_input;
   * fields stand in braces.
   *
   * @throws UserError for a name that is unknown, or a file that is no template
   */
  public static Template of(String nameOrFile) {
    return of(nameOrFile, BUNDLED.keySet());
  }

  private static Template of(String nameOrFile, Set<String> known) {
    Template bundled = BUNDLED.get(nameOrFile);
    if (bundled != null) {
      return bundled;
    }
    Path file = Path.of(nameOrFile);
    if (Files.isRegularFile(file)) {
      return read(file);
    }
    throw new UserError(
        "data.template: "
            + Nearest.unknown("template", nameOrFile, known)
            + "; nor is there a file of that name");
  }

  /**
   * The templates of a name: as {@link #of}, or several phrasings that are bundled under one name.
   *
   * @throws UserError for a name that is unknown, or a file that is no template
   */
  public static List<Template> group(String nameOrFile) {
    List<Template> group = GROUPS.get(nameOrFile);
    if (group != null) {
      return group;
    }
    Set<String> known = new TreeSet<>(BUNDLED.keySet());
    known.addAll(GROUPS.keySet());
    return List.of(of(nameOrFile, known));
  }

  /**
   * A template's words as a conversation of one question and one answer.
   *
   * @param words a template of prompt and target
   * @param chat the name of a bundled chat template
   * @throws UserError if either is something else
   */
  public static Template inChat(Template words, String chat) {
    Template bundled = of(chat);
    if (!(bundled instanceof ChatTemplate conversation)) {
      throw new UserError(
          "template '" + chat + "' is not one for conversations; those are: " + chats());
    }
    if (words instanceof ChatTemplate) {
      throw new UserError(
          "template '" + words.name() + "' is one for conversations already; leave chat out");
    }
    return new InChat(words, conversation);
  }

  private static String chats() {
    return BUNDLED.values().stream()
        .filter(template -> template instanceof ChatTemplate)
        .map(Template::name)
        .collect(Collectors.joining(", "));
  }

  /**
   * The template for a format when none is named: the format's own; for conversations the one that
   * the tokenizer brings along, else {@code dialog}.
   *
   * @throws UserError if the tokenizer brings along a chat template that is not one of the known
   *     ones
   */
  public static Template forFormat(Format format, Tokenizer tokenizer) {
    return switch (format) {
      case ALPACA -> BUNDLED.get("alpaca");
      case FLAN -> BUNDLED.get("flan-cot");
      case SUPERNI -> BUNDLED.get("superni");
      case MESSAGES ->
          tokenizer.chatTemplate().map(Templates::ofJinja).orElseGet(() -> BUNDLED.get("dialog"));
      default -> BUNDLED.get("plain");
    };
  }

  /**
   * The bundled template that does what a tokenizer's Jinja template does, told by the marks in it.
   *
   * @throws UserError if none does
   */
  static Template ofJinja(String jinja) {
    String name = null;
    if (jinja.contains("<|start_header_id|>") && !jinja.contains("Cutting Knowledge")) {
      name = "llama3";
    } else if (jinja.contains("<|im_start|>")) {
      if (jinja.contains("<think>")) {
        name = "qwen3";
      } else if (jinja.contains("created by Alibaba Cloud")) {
        name = "qwen2.5";
      } else if (jinja.contains("You are a helpful assistant")) {
        name = "qwen2";
      } else if (!jinja.contains("You are")) {
        name = "chatml";
      }
    } else if (jinja.contains("[INST]") && jinja.contains("<<SYS>>")) {
      name = "llama2";
    } else if (jinja.contains("[INST] ")
        && jinja.contains(" [/INST]")
        && !jinja.contains("[SYSTEM_PROMPT]")
        && !jinja.contains("[AVAILABLE_TOOLS]")) {
      name = "mistral";
    }
    if (name == null) {
      throw new UserError(
          "the tokenizer's chat template is not one of the known ones; name one with data.template:"
              + " "
              + String.join(", ", BUNDLED.keySet()));
    }
    return BUNDLED.get(name);
  }

  /** As {@link #pattern(String, String, Optional, String, Optional)}, exemplars as all others. */
  public static Template pattern(
      String name, String prompt, Optional<String> withoutInput, String target) {
    return pattern(name, prompt, withoutInput, target, Optional.empty());
  }

  /**
   * A template from its patterns.
   *
   * @param name for messages
   * @param prompt with fields in braces; exemplars stand where it says {@code {shots}}, else before
   *     it
   * @param withoutInput the prompt of examples whose field {@code input} is blank
   * @param target with fields in braces
   * @param exemplar the prompt of exemplars, if it is another one
   * @throws UserError for a brace that is not closed or not opened
   */
  public static Template pattern(
      String name,
      String prompt,
      Optional<String> withoutInput,
      String target,
      Optional<String> exemplar) {
    return new PatternTemplate(
        name,
        Pattern.parse(prompt, name + ": prompt"),
        withoutInput.map(text -> Pattern.parse(text, name + ": prompt_without_input")),
        Pattern.parse(target, name + ": target"),
        exemplar.map(text -> Pattern.parse(text, name + ": exemplar")));
  }

  private static Template read(Path file) {
    JsonNode node;
    try {
      node = YAML.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw UserError.at(
          file, line, "not valid YAML: " + e.getOriginalMessage().lines().findFirst().orElse(""));
    } catch (IOException e) {
      throw new UserError(file + ": cannot be read: " + e.getMessage(), e);
    }
    if (!node.isObject() || !node.path("prompt").isTextual() || !node.path("target").isTextual()) {
      throw new UserError(file + ": not a template; expected the keys prompt and target");
    }
    node.fieldNames()
        .forEachRemaining(
            key -> {
              if (!KEYS.contains(key)) {
                throw new UserError(file + ": " + Nearest.unknown("key", key, KEYS));
              }
              if (!node.get(key).isTextual()) {
                throw new UserError(
                    file + ": " + key + ": got " + node.get(key) + ", needs a text");
              }
            });
    return pattern(
        file.toString(),
        node.get("prompt").asText(),
        optional(node, "prompt_without_input"),
        node.get("target").asText(),
        optional(node, "exemplar"));
  }

  private static Optional<String> optional(JsonNode node, String key) {
    return Optional.of(node.path(key)).filter(JsonNode::isTextual).map(JsonNode::asText);
  }

  private static void superni(String name, String examples) {
    bundle(
        name,
        "Definition: {definition}\n\n"
            + examples
            + "Now complete the following example -\nInput: {input}\nOutput:",
        " {target}");
  }

  private static void bundle(String name, String prompt, String target) {
    bundle(name, prompt, Optional.empty(), target);
  }

  private static void bundle(
      String name, String prompt, Optional<String> withoutInput, String target) {
    BUNDLED.put(name, pattern(name, prompt, withoutInput, target));
  }
}
