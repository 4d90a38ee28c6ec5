package dev.caravan.data.mix;

import dev.caravan.data.source.Example;
import java.util.ArrayList;
import java.util.List;

/** Examples on the heap. */
final class MemoryExamples implements ExampleSet {
  private final List<Example> examples = new ArrayList<>();
  private final List<String> places = new ArrayList<>();
  private long skipped;
  private long copies;

  void add(Example example, String where) {
    examples.add(example);
    places.add(where);
  }

  /** Ends the set, with what was left out. */
  MemoryExamples without(long bad, long evaluatedOn) {
    skipped = bad;
    copies = evaluatedOn;
    return this;
  }

  @Override
  public long copies() {
    return copies;
  }

  @Override
  public long skipped() {
    return skipped;
  }

  @Override
  public long size() {
    return examples.size();
  }

  @Override
  public Example example(long row) {
    return examples.get(Math.toIntExact(row));
  }

  @Override
  public String where(long row) {
    return places.get(Math.toIntExact(row));
  }
}
