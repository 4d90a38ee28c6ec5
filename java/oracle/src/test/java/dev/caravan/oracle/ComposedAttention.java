package dev.caravan.oracle;

import java.util.List;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Attention over packed documents from PyTorch's operations, one document after the other. */
final class ComposedAttention {

  /** How many queries and keys each document of a packed buffer has. */
  record Documents(List<Integer> queries, List<Integer> keys) {
    /** Documents with as many keys as queries. */
    static Documents of(Integer... lengths) {
      return new Documents(List.of(lengths), List.of(lengths));
    }

    int queryRows() {
      return queries.stream().mapToInt(Integer::intValue).sum();
    }

    int keyRows() {
      return keys.stream().mapToInt(Integer::intValue).sum();
    }

    int[] cuQueries() {
      return borders(queries);
    }

    int[] cuKeys() {
      return borders(keys);
    }

    private static int[] borders(List<Integer> lengths) {
      int[] borders = new int[lengths.size() + 1];
      for (int i = 0; i < lengths.size(); i++) {
        borders[i + 1] = borders[i] + lengths.get(i);
      }
      return borders;
    }
  }

  /**
   * What a query may see and how scores are made.
   *
   * @param left how many keys back, -1 for all
   * @param right how many keys ahead, -1 for all
   * @param softCap 0 for none
   * @param scale 0 for 1 / sqrt(head width)
   * @param buckets rows of the relative-position table, 0 for no bias
   * @param maxDistance beyond which all distances share the last bucket
   * @param sinks whether each head's sink joins the soft-max
   */
  record Options(
      boolean causal,
      int left,
      int right,
      double softCap,
      double scale,
      int buckets,
      int maxDistance,
      boolean sinks) {
    static final Options CAUSAL = new Options(true, -1, -1, 0, 0, 0, 0, false);
    static final Options FULL = new Options(false, -1, -1, 0, 0, 0, 0, false);

    Options window(int back, int ahead) {
      return new Options(causal, back, ahead, softCap, scale, buckets, maxDistance, sinks);
    }

    Options capped(double cap) {
      return new Options(causal, left, right, cap, scale, buckets, maxDistance, sinks);
    }

    Options scaled(double by) {
      return new Options(causal, left, right, softCap, by, buckets, maxDistance, sinks);
    }

    Options biased(int rows, int distance) {
      return new Options(causal, left, right, softCap, scale, rows, distance, sinks);
    }

    Options sinking() {
      return new Options(causal, left, right, softCap, scale, buckets, maxDistance, true);
    }

    double scale(int width) {
      return scale == 0 ? 1 / Math.sqrt(width) : scale;
    }
  }

  private final Documents documents;
  private final Options options;
  private final double scale;

  ComposedAttention(Documents documents, Options options, int width) {
    this.documents = documents;
    this.options = options;
    this.scale = (float) options.scale(width);
  }

  /**
   * The attended values.
   *
   * @param in q [Tq, H, N], k [Tk, K, N], v [Tk, K, M], the bias table [B, H] and the sinks [H]
   * @return [Tq, H, M]; rows outside documents and rows that see no key are 0
   */
  Tensor out(Tensor... in) {
    Tensor q = in[0];
    Tensor v = in[2];
    TensorVector parts = new TensorVector();
    for (int s = 0; s < documents.queries().size(); s++) {
      int keys = documents.keys().get(s);
      Tensor values = perQueryHead(v.narrow(0, documents.cuKeys()[s], keys), q.size(1));
      Tensor allowed = allowed(s);
      Tensor scores = scores(s, q, in[1], in[3]);
      // A row without a key takes part with weights of 0, where soft-max alone would give NaN.
      Tensor blind = allowed.any(-1, true).logical_not();
      Tensor hidden = allowed.logical_not();
      Tensor safe = scores.masked_fill(hidden.logical_and(blind.logical_not()), minusInfinity());
      if (options.sinks()) {
        safe = torch.cat(new TensorVector(safe, sinkColumn(in[4], safe)), -1);
      }
      Tensor weights = safe.softmax(-1).narrow(-1, 0, keys).masked_fill(hidden, new Scalar(0.0));
      parts.push_back(torch.matmul(weights, values).transpose(0, 1));
    }
    long rest = q.size(0) - documents.queryRows();
    Tensor dependent = q.sum().add(in[1].sum()).add(v.sum()).add(in[3].sum());
    dependent = dependent.add(in[4].sum()).mul(new Scalar(0.0));
    parts.push_back(
        torch.zeros(new long[] {rest, q.size(1), v.size(2)}, new TensorOptions(Torch.type(q))));
    return torch.cat(parts, 0).add(dependent);
  }

  /** Logarithm of the sum of exponentials of each query's scores: [H, rows of all documents]. */
  Tensor lse(Tensor q, Tensor k, Tensor table, Tensor sinks) {
    TensorVector parts = new TensorVector();
    for (int s = 0; s < documents.queries().size(); s++) {
      Tensor allowed = allowed(s);
      Tensor scores = scores(s, q, k, table).masked_fill(allowed.logical_not(), minusInfinity());
      if (options.sinks()) {
        Tensor blind = allowed.any(-1, true).logical_not();
        Tensor sink = sinkColumn(sinks, scores).masked_fill(blind, minusInfinity());
        scores = torch.cat(new TensorVector(scores, sink), -1);
      }
      parts.push_back(scores.logsumexp(-1));
    }
    return torch.cat(parts, 1);
  }

  /** One more column of scores [H, queries, keys]: each head's sink. */
  private static Tensor sinkColumn(Tensor sinks, Tensor scores) {
    return sinks.to(Torch.type(scores)).reshape(-1, 1, 1).expand(sinks.size(0), scores.size(1), 1);
  }

  /** Scores of a document, [H, queries, keys], before anything is hidden. */
  private Tensor scores(int s, Tensor q, Tensor k, Tensor table) {
    int queries = documents.queries().get(s);
    int keys = documents.keys().get(s);
    Tensor query = q.narrow(0, documents.cuQueries()[s], queries).transpose(0, 1);
    Tensor key = perQueryHead(k.narrow(0, documents.cuKeys()[s], keys), q.size(1));
    Tensor scores = torch.matmul(query, key.transpose(1, 2)).mul(new Scalar(scale));
    if (options.softCap() > 0) {
      Scalar cap = new Scalar(options.softCap());
      scores = scores.div(cap).tanh().mul(cap);
    }
    if (options.buckets() > 0) {
      Tensor bias = table.index_select(0, buckets(queries, keys).reshape(-1));
      scores = scores.add(bias.reshape(queries, keys, q.size(1)).permute(2, 0, 1));
    }
    return scores;
  }

  /** [keys, K, N] to [H, keys, N], each key head repeated for its group of query heads. */
  private static Tensor perQueryHead(Tensor x, long heads) {
    long group = heads / x.size(1);
    return x.transpose(0, 1).repeat_interleave(group, new LongOptional(0), new LongOptional());
  }

  private Tensor allowed(int s) {
    int queries = documents.queries().get(s);
    int keys = documents.keys().get(s);
    Tensor distance = distance(queries, keys);
    Tensor allowed = torch.ones_like(distance).to(ScalarType.Bool);
    if (options.causal()) {
      allowed = allowed.logical_and(distance.le(new Scalar(0.0)));
    }
    if (options.left() >= 0) {
      allowed = allowed.logical_and(distance.ge(new Scalar((double) -options.left())));
    }
    if (options.right() >= 0) {
      allowed = allowed.logical_and(distance.le(new Scalar((double) options.right())));
    }
    return allowed;
  }

  /** Position of each key less position of each query, [queries, keys], int64. */
  private static Tensor distance(int queries, int keys) {
    int[] query = new int[queries];
    for (int i = 0; i < queries; i++) {
      query[i] = i + keys - queries;
    }
    int[] key = new int[keys];
    for (int j = 0; j < keys; j++) {
      key[j] = j;
    }
    return Torch.index(key).unsqueeze(0).sub(Torch.index(query).unsqueeze(1));
  }

  /**
   * T5's bucket of each pair, [queries, keys]: near distances have one each, far ones share them
   * logarithmically. Source: Raffel et al. 2020, arXiv 1910.10683, section 2.1; the logarithm in
   * float32 as Hugging Face's T5 has it, which decides the borders.
   */
  private Tensor buckets(int queries, int keys) {
    Tensor ahead = distance(queries, keys);
    long half = options.causal() ? options.buckets() : options.buckets() / 2;
    Tensor start = torch.zeros_like(ahead);
    Tensor distance = ahead.neg().clamp_min(new Scalar(0.0));
    if (!options.causal()) {
      start = ahead.gt(new Scalar(0.0)).to(ScalarType.Long).mul(new Scalar((double) half));
      distance = ahead.abs();
    }
    long exact = half / 2;
    Tensor far =
        distance
            .to(Torch.F32)
            .div(new Scalar((double) exact))
            .log()
            .div(new Scalar(Math.log((double) options.maxDistance() / exact)))
            .mul(new Scalar((double) (half - exact)))
            .clamp_min(new Scalar(0.0))
            .to(ScalarType.Long)
            .add(new Scalar((double) exact))
            .clamp_max(new Scalar((double) (half - 1)));
    Tensor near = distance.lt(new Scalar((double) exact));
    return start.to(ScalarType.Long).add(torch.where(near, distance, far).to(ScalarType.Long));
  }

  private static Scalar minusInfinity() {
    return new Scalar(Double.NEGATIVE_INFINITY);
  }
}
