package dev.caravan.data.mix;

import dev.caravan.data.RowStore;
import dev.caravan.data.UserError;
import dev.caravan.data.mixture.Choices;
import dev.caravan.data.source.Example;
import dev.caravan.data.task.EncodedRow;
import dev.caravan.data.task.RowEncoder;
import dev.caravan.data.task.RowLimits;
import dev.caravan.data.template.Segment;
import dev.caravan.data.template.Template;
import dev.caravan.data.template.TemplateMismatch;
import dev.caravan.data.tokenize.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Rows that are put into words and tokens when they are asked for. */
final class WordedRows implements TaskRows {
  private final TaskSpec task;
  private final ExampleSet examples;
  private final List<Template> templates;
  private final Tokenizer tokenizer;
  private final RowEncoder encoder;
  private final RowLimits limits;
  private final Optional<FewShot> fewShot;
  private final long seed;

  /**
   * @param templates at least one
   * @param seed of the choices
   */
  WordedRows(
      TaskSpec task,
      ExampleSet examples,
      List<Template> templates,
      Tokenizer tokenizer,
      RowLimits limits,
      long seed) {
    this.task = task;
    this.examples = examples;
    this.templates = List.copyOf(templates);
    this.tokenizer = tokenizer;
    this.limits = limits;
    this.seed = seed;
    encoder = new RowEncoder(tokenizer);
    try {
      templates.forEach(encoder::check);
    } catch (UserError e) {
      throw new UserError("task '" + task.name() + "': " + e.getMessage(), e);
    }
    fewShot =
        task.wording().shots().map(shots -> new FewShot(task.wording(), examples, encoder, limits));
  }

  @Override
  public long size() {
    return examples.size();
  }

  @Override
  public long skipped() {
    return examples.skipped();
  }

  @Override
  public long copies() {
    return examples.copies();
  }

  @Override
  public Optional<FewShot> fewShot() {
    return fewShot;
  }

  @Override
  public String where(long row) {
    return examples.where(row);
  }

  @Override
  public Block.Encoded encode(long row, long visit) {
    Template template = templates.get(phrasing(row, visit));
    long key = Choices.word(seed, row, visit);
    EncodedRow encoded;
    try {
      Example example = task.wording().apply(examples.example(row), template, key);
      List<Segment> segments = template.render(example);
      if (isBlank(segments)) {
        return Block.Encoded.dropped(Block.Fate.EMPTY_TARGET);
      }
      encoded = encode(template, example, segments, row, key);
    } catch (TemplateMismatch e) {
      throw new UserError(where(row) + ": " + e.getMessage(), e);
    }
    checkVocabulary(encoded, row);
    if (limits.isPairs()) {
      return pair(encoded);
    }
    encoded.truncate(limits.maxTokens(), encoder.beginsWithBos(encoded));
    if (RowStore.targets(encoded.labels(), encoded.length()) == 0) {
      return Block.Encoded.dropped(Block.Fate.CUT_TARGET);
    }
    return new Block.Encoded(
        encoded.ids(),
        encoded.labels(),
        encoded.length(),
        encoded.tokensCut() > 0 ? Block.Fate.TRUNCATED : Block.Fate.KEPT,
        encoded.tokensCut());
  }

  private EncodedRow encode(
      Template template, Example example, List<Segment> segments, long row, long key) {
    return fewShot
        .flatMap(few -> few.encode(template, example, row, key))
        .orElseGet(() -> limits.isPairs() ? encoder.pair(segments) : encoder.row(segments));
  }

  @Override
  public AnswerChoice choice(long row, long visit) {
    Template template = templates.get(phrasing(row, visit));
    long key = Choices.word(seed, row, visit);
    Example given = examples.example(row);
    List<int[]> ids = new ArrayList<>();
    List<String> texts = new ArrayList<>();
    for (Example said : task.wording().applyEach(given, template, key)) {
      int[] answer = answer(encode(template, said, template.render(said), row, key));
      ids.add(answer);
      texts.add(tokenizer.decode(answer).strip());
    }
    int right = task.wording().options().orElseThrow().right((Example.Fields) given);
    return new AnswerChoice(ids.toArray(int[][]::new), texts, right);
  }

  /** None of a task with options, which are all that its rows may say. */
  @Override
  public List<String> alternatives(long row, long visit) {
    if (!(examples.example(row) instanceof Example.Fields fields)
        || task.wording().options().isPresent()) {
      return List.of();
    }
    Template template = templates.get(phrasing(row, visit));
    long key = Choices.word(seed, row, visit);
    List<String> texts = new ArrayList<>();
    for (String alternative : fields.alternatives()) {
      Example said = task.wording().apply(fields.answered(alternative), template, key);
      List<Segment> segments = template.render(said);
      if (!isBlank(segments)) {
        texts.add(tokenizer.decode(answer(encode(template, said, segments, row, key))).strip());
      }
    }
    return texts;
  }

  /** What a row says behind its prompt, up to the tokens at which generation stops. */
  private int[] answer(EncodedRow encoded) {
    Set<Integer> stops = new HashSet<>();
    Arrays.stream(tokenizer.stopIds()).forEach(stops::add);
    int from = encoded.promptTokens();
    int to = from + 1;
    while (to < encoded.length() && !stops.contains(encoded.ids()[to])) {
      to++;
    }
    return Arrays.copyOfRange(encoded.ids(), from, to);
  }

  private Block.Encoded pair(EncodedRow encoded) {
    int targetCut = encoded.truncatePair(limits.maxTokens(), limits.targetTokens());
    Block.Fate truncated = targetCut > 0 ? Block.Fate.TRUNCATED_TARGET : Block.Fate.TRUNCATED;
    return new Block.Encoded(
        encoded.ids(),
        encoded.labels(),
        encoded.length(),
        encoded.tokensCut() > 0 ? truncated : Block.Fate.KEPT,
        encoded.tokensCut(),
        encoded.promptTokens());
  }

  @Override
  public int phrasing(long row, long visit) {
    int count = templates.size();
    return switch (task.choose()) {
      case ROUND_ROBIN -> (int) ((row + visit) % count);
      case RANDOM -> Choices.below(count, seed, row, visit);
    };
  }

  /** An end token alone teaches nothing. */
  private static boolean isBlank(List<Segment> segments) {
    for (Segment segment : segments) {
      if (segment instanceof Segment.Text text && text.target() && !text.text().isBlank()) {
        return false;
      }
    }
    return true;
  }

  private void checkVocabulary(EncodedRow encoded, long row) {
    if (tokenizer.vocabSize() <= limits.vocabSize()) {
      return;
    }
    for (int i = 0; i < encoded.length(); i++) {
      int id = encoded.ids()[i];
      if (id >= limits.vocabSize()) {
        throw new UserError(
            "%s: token id %d ('%s') is outside the model's vocabulary of %d; the tokenizer has %d"
                .formatted(
                    where(row),
                    id,
                    tokenizer.decode(new int[] {id}),
                    limits.vocabSize(),
                    tokenizer.vocabSize()));
      }
    }
  }
}
