package dev.caravan.graph;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.caravan.graph.Division.Split;
import dev.caravan.kernels.Collective;
import dev.caravan.kernels.Collective.Axis;
import dev.caravan.kernels.Collectives;
import dev.caravan.kernels.DType;
import dev.caravan.kernels.Experts;
import dev.caravan.kernels.Experts.Balance;
import dev.caravan.model.ExpertLosses;
import dev.caravan.ops.AllGatherRows;
import dev.caravan.ops.AllToAllRows;
import dev.caravan.ops.ExpertPlaces;
import dev.caravan.ops.Node;
import dev.caravan.ops.ReduceScatterRows;
import dev.caravan.ops.Router;
import dev.caravan.parallel.Mesh;
import dev.caravan.parallel.RankThreads;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.IntUnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Ranks that share the experts, as threads: loss and gradients of one rank on all their buffers. */
class ExpertPartitionTest {
  private static final double RELATIVE = 1e-5;

  static final ExpertLosses DROPPING = new ExpertLosses(Balance.NONE, 0, 0, 0.75, 0);

  /** Room for every choice: of four experts each takes all tokens, even where a token chooses one. */
  private static final ExpertLosses ROOMY = new ExpertLosses(Balance.NONE, 0, 0, 4, 0);

  /** What a rank computed: the loss, and gradients by weight. */
  record Outcome(double loss, Map<String, double[]> gradients) {}

  /** Where tokens go. */
  private enum Routing {
    /** Here and there. */
    SPREAD,
    /** All to the first two experts: the first rank has all rows. */
    FIRST,
    /** No logit is above another but the last expert's, of some tokens. */
    LOPSIDED
  }

  private static List<TinyLlama> models() {
    return TinyLlama.all().stream().filter(model -> model.config().experts().isPresent()).toList();
  }

  static Stream<Arguments> cases() {
    List<Arguments> cases = new ArrayList<>();
    for (TinyLlama model : models()) {
      for (Mesh mesh : List.of(new Mesh(2, 1, 2), new Mesh(4, 1, 4), new Mesh(4, 1, 2))) {
        for (Routing routing : Routing.values()) {
          cases.add(Arguments.of(model, mesh, routing));
        }
      }
    }
    return cases.stream();
  }

  private static Values values(TinyLlama model, Routing routing) {
    Values values = model.values(DType.F32, 71);
    for (Tensor leaf : model.score(DType.F32).leaves(Role.PARAMETER)) {
      if (routing != Routing.SPREAD && leaf.name().endsWith(".gate.weight")) {
        double[] router = values.get(leaf.name()).clone();
        int kept = routing == Routing.LOPSIDED ? (int) leaf.dim(1) : 0;
        Arrays.fill(router, 0, router.length - kept, 0);
        values.set(leaf.name(), router);
      }
    }
    return values;
  }

  /** The buffer of a rank, on the same weights. */
  static Values buffer(TinyLlama model, Values values, int rank) {
    int[][] lengths = {{5, 0, 2, 4}, {3, 3, 3, 0}, {8, 1, 3, 2}, {1, 0, 0, 0}};
    return model.with(lengths[rank]).buffer(values.copy(), new Random(100 + rank));
  }

  static Outcome outcome(Graph graph, DeviceRun run) {
    Map<String, double[]> gradients = new LinkedHashMap<>();
    for (Tensor parameter : graph.leaves(Role.PARAMETER)) {
      gradients.put(parameter.name(), run.gradient(parameter.name()));
    }
    return new Outcome(run.lossSum(), gradients);
  }

  /** One rank on one buffer after another. */
  static Outcome one(TinyLlama model, Values values, Mesh mesh, ExpertLosses losses) {
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE, Mesh.ONE, losses);
    try (DeviceRun run = new DeviceRun(graph, 1)) {
      run.fillArena(DeviceRun.POISON);
      run.load(values);
      for (int rank = 0; rank < mesh.data(); rank++) {
        Values own = buffer(model, values, rank);
        run.loadInputs(own);
        run.run(own);
      }
      return outcome(graph, run);
    }
  }

  private static Map<Integer, Outcome> ranks(
      TinyLlama model,
      Values values,
      Recompute.Policy recompute,
      Mesh mesh,
      ExpertLosses losses,
      ExpertExchange exchange) {
    Map<Integer, Outcome> outcomes = new ConcurrentHashMap<>();
    RankThreads.run(
        mesh,
        ranks -> {
          Graph graph = model.train(DType.F32, recompute, mesh, losses, exchange);
          outcomes.put(ranks.rank(Axis.WORLD), of(graph, model, values, mesh, ranks));
          return "done";
        });
    return outcomes;
  }

  /** What one rank computes. */
  private static Outcome of(
      Graph graph, TinyLlama model, Values values, Mesh mesh, Collectives ranks) {
    int rank = ranks.rank(Axis.WORLD);
    Values own = buffer(model, values, rank);
    for (Tensor weight : graph.leaves(Role.PARAMETER)) {
      own.set(
          weight.name(), part(weight, values.get(weight.name()), mesh.expertRank(rank)));
    }
    try (DeviceRun run = new DeviceRun(graph, 1, ranks)) {
      run.fillArena(DeviceRun.POISON);
      run.load(own);
      run.run(own);
      return outcome(graph, run);
    }
  }

  /** A rank's part of a weight; all of it where it is no expert's. */
  private static double[] part(Tensor weight, double[] whole, int rank) {
    int count = (int) weight.type().elements();
    return count == whole.length
        ? whole
        : Arrays.copyOfRange(whole, rank * count, (rank + 1) * count);
  }

  private static void assertRanksAreOne(
      TinyLlama model, Values values, Recompute.Policy recompute, Mesh mesh, ExpertLosses losses) {
    assertRanksAreOne(model, values, recompute, mesh, losses, losses, ExpertExchange.GATHER);
  }

  /** Ranks with some losses and limits are one rank with others. */
  private static void assertRanksAreOne(
      TinyLlama model,
      Values values,
      Recompute.Policy recompute,
      Mesh mesh,
      ExpertLosses ofOne,
      ExpertLosses losses,
      ExpertExchange exchange) {
    Outcome one = one(model, values, mesh, ofOne);
    Map<Integer, Outcome> many = ranks(model, values, recompute, mesh, losses, exchange);
    Map<Integer, Outcome> again = ranks(model, values, recompute, mesh, losses, exchange);
    double loss = many.values().stream().mapToDouble(Outcome::loss).sum();
    assertEquals(one.loss(), loss, RELATIVE * one.loss());
    double scale =
        one.gradients().values().stream()
            .flatMapToDouble(Arrays::stream)
            .map(Math::abs)
            .max()
            .orElseThrow();
    Graph graph = model.train(DType.F32, recompute, mesh, losses, exchange);
    for (Tensor weight : graph.leaves(Role.PARAMETER)) {
      String name = weight.name();
      double[] whole = one.gradients().get(name);
      double[] sum = new double[whole.length];
      for (int rank = 0; rank < mesh.size(); rank++) {
        double[] its = many.get(rank).gradients().get(name);
        int first = its.length == whole.length ? 0 : mesh.expertRank(rank) * its.length;
        for (int i = 0; i < its.length; i++) {
          sum[first + i] += its[i];
        }
        assertArrayEquals(its, again.get(rank).gradients().get(name), name + ", run to run");
      }
      for (int i = 0; i < whole.length; i++) {
        assertEquals(whole[i], sum[i], RELATIVE * scale, name + " " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void manyRanksHaveLossAndGradientsOfOne(TinyLlama model, Mesh mesh, Routing routing) {
    List<Recompute.Policy> policies =
        routing == Routing.SPREAD ? List.of(Recompute.Policy.NONE, new Recompute.Policy(false, 2))
            : List.of(Recompute.Policy.FULL);
    for (Recompute.Policy recompute : policies) {
      assertRanksAreOne(model, values(model, routing), recompute, mesh, ExpertLosses.NONE);
    }
  }

  /** Each rank's tokens alone compete for places, as they would on one rank after another. */
  @ParameterizedTest
  @MethodSource("cases")
  void aCapacityDropsWhatOneRankDrops(TinyLlama model, Mesh mesh, Routing routing) {
    assertRanksAreOne(model, values(model, routing), Recompute.Policy.SELECTIVE, mesh, DROPPING);
  }

  /** Fixed places, of which the last rank's or a busy one's are all in use, some, or none. */
  @ParameterizedTest
  @MethodSource("cases")
  void placesForAllAreNoLimit(TinyLlama model, Mesh mesh, Routing routing) {
    Recompute.Policy policy =
        routing == Routing.SPREAD ? Recompute.Policy.NONE : Recompute.Policy.FULL;
    assertRanksAreOne(
        model,
        values(model, routing),
        policy,
        mesh,
        ExpertLosses.NONE,
        ROOMY,
        ExpertExchange.PADDED);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void fixedPlacesDropWhatOneRankDrops(TinyLlama model, Mesh mesh, Routing routing) {
    Recompute.Policy policy =
        routing == Routing.FIRST ? Recompute.Policy.FULL : new Recompute.Policy(false, 2);
    assertRanksAreOne(
        model,
        values(model, routing),
        policy,
        mesh,
        DROPPING,
        DROPPING,
        ExpertExchange.PADDED);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void countedRowsAreThoseOfOneRank(TinyLlama model, Mesh mesh, Routing routing) {
    ExpertLosses losses = routing == Routing.LOPSIDED ? DROPPING : ExpertLosses.NONE;
    assertRanksAreOne(
        model,
        values(model, routing),
        routing == Routing.SPREAD ? Recompute.Policy.NONE : Recompute.Policy.FULL,
        mesh,
        losses,
        losses,
        ExpertExchange.EXACT);
  }

  /** The counted exchanges of a rank, noted. */
  private record Noted(Collectives ranks, List<Collective> counted) implements Collectives {
    @Override
    public int size(Axis axis) {
      return ranks.size(axis);
    }

    @Override
    public int rank(Axis axis) {
      return ranks.rank(axis);
    }

    @Override
    public long begin(dev.caravan.kernels.Stream stream, Collective collective) {
      if (collective.counts() != null) {
        counted.add(collective);
      }
      return ranks.begin(stream, collective);
    }

    @Override
    public void join(dev.caravan.kernels.Stream stream, Axis axis, long ticket) {
      ranks.join(stream, axis, ticket);
    }

    @Override
    public void sum(Axis axis, double[] values) {
      ranks.sum(axis, values);
    }
  }

  /** The first rank's experts get both choices of every token, the second one's nothing. */
  @Test
  void onlyRowsThatThereAreTravel() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(2, 1, 2);
    Values values = values(model, Routing.FIRST);
    Graph graph =
        model.train(
            DType.F32, Recompute.Policy.NONE, mesh, ExpertLosses.NONE, ExpertExchange.EXACT);
    Map<Integer, List<Collective>> exchanged = new ConcurrentHashMap<>();
    RankThreads.run(
        mesh,
        ranks -> {
          Noted noted = new Noted(ranks, new ArrayList<>());
          of(graph, model, values, mesh, noted);
          exchanged.put(ranks.rank(Axis.WORLD), noted.counted());
          return "done";
        });
    long places = 2 * 2 * graph.leaf("ids").dim(0); // of both ranks, each as many as choices
    for (int rank = 0; rank < 2; rank++) {
      assertEquals(7 * model.config().layers(), exchanged.get(rank).size());
      for (Collective each : exchanged.get(rank)) {
        long width = each.send().elements() / places;
        long[] rows = {2 * 11 * width, 2 * 9 * width}; // of the buffers' tokens
        long[] own = {rows[rank], 0};
        long[] all = rank == 0 ? rows : new long[2];
        boolean out = Arrays.equals(own, each.counts().sent());
        assertArrayEquals(out ? own : all, each.counts().sent(), each + " sent");
        assertArrayEquals(out ? all : own, each.counts().received(), each + " received");
      }
    }
  }

  /** A plan counts what even choices would send. */
  @Test
  void whatIsCountedIsInThePlanAsEvenChoices() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(2, 1, 2);
    Graph graph =
        model.train(
            DType.F32, Recompute.Policy.NONE, mesh, ExpertLosses.NONE, ExpertExchange.EXACT);
    long layers = model.config().layers();
    long sent = graph.leaf("ids").dim(0) * 2 / 2 * Float.BYTES;
    long offsets = (4 + 1) * Integer.BYTES;
    long statistics = layers * (3 * 4 + 2) * Float.BYTES;
    assertEquals(
        layers * (4 * sent * model.config().dModel() + 3 * sent + offsets) + statistics,
        graph.wireBytes());
  }

  @Test
  void fixedPlacesOfGroupsDropWhatOneRankDrops() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(4, 1, 2);
    Graph whole = model.train(DType.F32, Recompute.Policy.NONE, mesh, DROPPING);
    int tokens = Math.toIntExact(whole.leaf("ids").dim(0));
    for (int group : new int[] {tokens / 2, 3}) { // those of three do not divide the tokens
      ExpertLosses groups = new ExpertLosses(Balance.NONE, 0, 0, 0.75, group);
      assertRanksAreOne(
          model,
          values(model, Routing.LOPSIDED),
          Recompute.Policy.NONE,
          mesh,
          groups,
          groups,
          ExpertExchange.PADDED);
    }
  }

  @Test
  void groupsOfTokensDropWhatTheyDropOnOneRank() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(2, 1, 2);
    Recompute.Policy policy = Recompute.Policy.SELECTIVE;
    Graph whole = model.train(DType.F32, policy, mesh, DROPPING);
    int group = Math.toIntExact(whole.leaf("ids").dim(0) / 2);
    ExpertLosses groups = new ExpertLosses(Balance.NONE, 0, 0, 0.75, group);
    Graph cut = model.train(DType.F32, policy, mesh, groups);
    for (Node node : cut.nodes()) {
      if (node.op() instanceof Router router) {
        assertEquals(group, router.group());
        assertEquals(capacity(whole) / 2, router.capacity(), 0.5);
      }
    }
    assertRanksAreOne(model, values(model, Routing.FIRST), policy, mesh, groups);
  }

  private static double capacity(Graph graph) {
    return graph.nodes().stream()
        .map(Node::op)
        .filter(Router.class::isInstance)
        .mapToLong(op -> ((Router) op).capacity())
        .findFirst()
        .orElseThrow();
  }

  @Test
  void oneRankLeavesTheGraphAsItIs() {
    TinyLlama model = models().get(0);
    Graph graph = model.score(DType.F32);
    Division whole = new Division(1, name -> Split.WHOLE);
    assertSame(graph, ExpertPartition.apply(graph, whole, 2, ExpertExchange.GATHER));
  }

  /** Tokens go round once forward and once backward, a block that is computed again gathers again. */
  @Test
  void whatIsExchangedIsInThePlan() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(2, 1, 2);
    Graph graph = model.train(DType.F32, Recompute.Policy.NONE, mesh, ExpertLosses.NONE);
    long layers = model.config().layers();
    long tokens = graph.leaf("ids").dim(0);
    long rows = tokens * model.config().dModel() * Float.BYTES;
    long choices = tokens * 2 * Float.BYTES; // experts and weights forward, weights' gradient backward
    long statistics = layers * (3 * 4 + 2) * Float.BYTES; // of 4 experts, over all data ranks
    assertEquals(layers * (4 * rows + 3 * choices) + statistics, graph.wireBytes());
    assertEquals(3 * layers, count(graph, AllGatherRows.class));
    assertEquals(3 * layers, count(graph, ReduceScatterRows.class));
    Graph again = model.train(DType.F32, Recompute.Policy.FULL, mesh, ExpertLosses.NONE);
    assertEquals(layers * (5 * rows + 5 * choices) + statistics, again.wireBytes());
  }

  /** Rows go there and back, forward and backward; numbers of experts and weights with them once. */
  @Test
  void whatAnAllToAllMovesIsInThePlan() {
    TinyLlama model = models().get(0);
    for (int ranks : new int[] {2, 4}) {
      Mesh mesh = new Mesh(ranks, 1, ranks);
      Graph graph =
          model.train(
              DType.F32, Recompute.Policy.NONE, mesh, DROPPING, ExpertExchange.PADDED);
      long layers = model.config().layers();
      long tokens = graph.leaf("ids").dim(0);
      long places = 4 / ranks * (long) Math.ceil(0.75 * tokens * 2 / 4); // of each other rank
      assertTrue(places < tokens * Math.min(2, 4 / ranks), places + " of " + tokens);
      long sent = (ranks - 1) * places * Float.BYTES;
      long rows = sent * model.config().dModel();
      long statistics = 2 * layers * (3 * 4 + 2) * Float.BYTES * (ranks - 1) / ranks;
      assertEquals(layers * (4 * rows + 3 * sent) + statistics, graph.wireBytes());
      assertEquals(0, count(graph, AllGatherRows.class) + count(graph, ReduceScatterRows.class));
      Graph again =
          model.train(
              DType.F32, Recompute.Policy.FULL, mesh, DROPPING, ExpertExchange.PADDED);
      assertEquals(layers * (rows + 2 * sent), again.wireBytes() - graph.wireBytes());
    }
  }

  /** Evaluation drops nothing, so no size can be fixed. */
  @Test
  void withoutACapacityAllIsGathered() {
    TinyLlama model = models().get(0);
    Mesh mesh = new Mesh(2, 1, 2);
    Graph graph =
        model.train(
            DType.F32, Recompute.Policy.NONE, mesh, ExpertLosses.NONE, ExpertExchange.PADDED);
    assertEquals(0, count(graph, AllToAllRows.class));
    assertEquals(3 * model.config().layers(), count(graph, AllGatherRows.class));
  }

  /** The rows that come from the plainest loop over random choices never need more places, some all. */
  @Test
  void placesAreTheMostThatARankCanSend() {
    Random random = new Random(23);
    for (int trial = 0; trial < 200; trial++) {
      int ranks = 1 + random.nextInt(4);
      int experts = ranks * (1 + random.nextInt(3));
      int choices = 1 + random.nextInt(experts);
      int tokens = 1 + random.nextInt(20);
      int capacity = random.nextInt(6);
      int group = random.nextInt(3) == 0 ? 0 : 1 + random.nextInt(tokens);
      Router router = new Router(choices, Experts.Scoring.SOFTMAX, true, 0, capacity, group);
      long places = ExpertPlaces.places(ranks, tokens, experts, router);
      long most = 0;
      for (int skew = 0; skew < ranks; skew++) { // all tokens choose the rank's own experts first
        int first = skew * (experts / ranks);
        most = Math.max(most, kept(tokens, choices, experts, ranks, capacity, group, t -> first));
        int[] starts = random.ints(tokens, 0, experts).toArray();
        long some = kept(tokens, choices, experts, ranks, capacity, group, t -> starts[t]);
        assertTrue(some <= places, some + " rows, " + places + " places");
      }
      assertTrue(most <= places, most + " rows, " + places + " places");
      if (choices % (experts / ranks) == 0 || capacity == 0) {
        assertEquals(places, most, "of " + router + ", " + tokens + " tokens, " + ranks + " ranks");
      }
    }
  }

  @Test
  void aCapacityBeyondAllTokensIsNoLimit() {
    Router router =
        new Router(2, Experts.Scoring.SOFTMAX, true, 0, Long.MAX_VALUE, 0);
    assertEquals(2 * 10, ExpertPlaces.places(2, 10, 4, router));
    assertEquals(10, ExpertPlaces.places(4, 10, 4, router));
  }

  /** The most rows that one rank gets, where token t chooses experts from a first one on. */
  private static long kept(
      int tokens,
      int choices,
      int experts,
      int ranks,
      int capacity,
      int group,
      IntUnaryOperator first) {
    long[] rows = new long[ranks];
    int size = group == 0 ? tokens : group;
    for (int from = 0; from < tokens; from += size) {
      int[] taken = new int[experts];
      for (int c = 0; c < choices; c++) {
        for (int t = from; t < Math.min(from + size, tokens); t++) {
          int expert = (first.applyAsInt(t) + c) % experts;
          if (capacity == 0 || taken[expert]++ < capacity) {
            rows[expert / (experts / ranks)]++;
          }
        }
      }
    }
    return Arrays.stream(rows).max().orElseThrow();
  }

  private static long count(Graph graph, Class<?> op) {
    return graph.nodes().stream().filter(node -> op.isInstance(node.op())).count();
  }

  @Test
  void expertsThatCannotBeSharedAreRefused() {
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                models().get(0)
                    .train(DType.F32, Recompute.Policy.NONE, new Mesh(3, 1, 3), ExpertLosses.NONE));
    assertTrue(
        error.getMessage().endsWith("for 3 ranks, needs a multiple of them in axis 0"),
        error.getMessage());
  }
}
