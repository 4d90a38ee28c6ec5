package dev.caravan.model;

import dev.caravan.graph.Division;
import dev.caravan.nn.Attend;
import dev.caravan.nn.Layers;
import dev.caravan.nn.Rotary;
import dev.caravan.nn.SparseExperts;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;

/** What graphs, plans, files and costs need to know of a decoder, whatever its family. */
public sealed interface DecoderConfig permits LlamaConfig, GlamConfig {
  /** Name of the family in config.json. */
  String modelType();

  /** Rows of the embedding. */
  int vocab();

  /** Width of the residual stream. */
  int dModel();

  /** Number of blocks. */
  int layers();

  /** Width of one head. */
  int headDim();

  /** Width of all query heads together. */
  int qDim();

  /** Whether the output projection is the embedding itself. */
  boolean tied();

  /** Longest sequence that the model is meant for, in tokens. */
  int maxPosition();

  /** Standard deviation of randomly initialised matrices. */
  double initializerRange();

  /** Token that begins a text, where there is one. */
  OptionalInt bosId();

  /** Tokens that end a text; may be empty. */
  List<Integer> eosIds();

  /** Its sparse experts, where it has any. */
  Optional<ExpertsConfig> experts();

  /** The sliding window of one layer, in tokens; 0 where it sees everything before it. */
  int slidingWindow(int layer);

  /** Whether positions come in by rotation, so that graphs need its tables. */
  boolean rotary();

  /** Every parameter, in the order in which the model uses them. A tied output projection is none. */
  List<WeightSpec> specs();

  /**
   * How tensor-parallel ranks divide the model.
   *
   * @throws IllegalArgumentException if it cannot be divided among so many
   */
  Division division(int ranks);

  /**
   * The model function.
   *
   * @param rope null where {@link #rotary} is false
   * @param experts null where there are none
   */
  Decoder decoder(Layers nn, Rotary rope, Attend attention, SparseExperts experts);
}
