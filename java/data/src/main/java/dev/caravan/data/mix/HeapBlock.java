package dev.caravan.data.mix;

/** Examples on the heap. */
final class HeapBlock implements Block {
  private final int[] start;
  private final int[] ids;
  private final int[] labels;
  private final int[] targets;
  private final Fate[] fates;
  private final int[] cut;
  private final int[] sources;

  /** Puts examples together. */
  HeapBlock(Encoded[] examples) {
    int count = examples.length;
    start = new int[count + 1];
    targets = new int[count];
    fates = new Fate[count];
    cut = new int[count];
    sources = new int[count];
    for (int i = 0; i < count; i++) {
      start[i + 1] = start[i] + examples[i].length();
      targets[i] = examples[i].targetTokens();
      fates[i] = examples[i].fate();
      cut[i] = examples[i].cut();
      sources[i] = examples[i].sources();
    }
    ids = new int[start[count]];
    labels = new int[ids.length];
    for (int i = 0; i < count; i++) {
      System.arraycopy(examples[i].ids(), 0, ids, start[i], length(i));
      System.arraycopy(examples[i].labels(), 0, labels, start[i], length(i));
    }
  }

  @Override
  public int size() {
    return fates.length;
  }

  @Override
  public int length(int i) {
    return start[i + 1] - start[i];
  }

  @Override
  public int targets(int i) {
    return targets[i];
  }

  @Override
  public int sources(int i) {
    return sources[i];
  }

  @Override
  public void copyIds(int i, int[] into, int offset) {
    System.arraycopy(ids, start[i], into, offset, length(i));
  }

  @Override
  public void copyLabels(int i, int[] into, int offset) {
    System.arraycopy(labels, start[i], into, offset, length(i));
  }

  @Override
  public Fate fate(int i) {
    return fates[i];
  }

  @Override
  public int cut(int i) {
    return cut[i];
  }

  @Override
  public long heapBytes() {
    return 8L * ids.length + 20L * fates.length;
  }
}
