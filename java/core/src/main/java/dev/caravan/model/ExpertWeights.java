package dev.caravan.model;

import dev.caravan.graph.Division.Split;
import java.util.ArrayList;
import java.util.List;

/**
 * How the weights of all experts of a layer, which kernels read as one tensor, lie in files: a matrix
 * for each expert, the first one's gate and up apart. A file may also hold the whole tensor, as
 * transformers 5 keeps it in memory.
 */
public final class ExpertWeights {
  /** End of the name of the first weights: gate and up of an expert, one below the other. */
  static final String FIRST = ".experts.gate_up_proj";

  /** The same where experts have no gate. */
  static final String UNGATED = ".experts.up_proj";

  /** End of the name of the second weights. */
  static final String SECOND = ".experts.down_proj";

  /** End of the name of the shared expert's first weights. */
  static final String SHARED_FIRST = ".shared_expert.gate_up_proj";

  /** The same where it has no gate. */
  static final String SHARED_UNGATED = ".shared_expert.up_proj";

  /** End of the name of its second weights. */
  static final String SHARED_SECOND = ".shared_expert.down_proj";

  /** Mixtral's name of the module that holds its experts; transformers 5 calls it mlp in memory. */
  static final String MIXTRAL = "block_sparse_moe";

  /**
   * One tensor of a file.
   *
   * @param name in the file
   * @param shape row-major extents
   * @param first its first element in the tensor of all experts
   */
  public record Piece(String name, List<Long> shape, long first) {}

  private ExpertWeights() {}

  /** Whether a parameter holds a matrix of each expert, so that ranks can share them out. */
  static boolean divided(String name) {
    return name.endsWith(FIRST) || name.endsWith(UNGATED) || name.endsWith(SECOND);
  }

  /** Which way tensor-parallel ranks cut a parameter: each has some of the width of every expert. */
  static Split split(String name) {
    if (name.endsWith(FIRST) || name.endsWith(SHARED_FIRST)) {
      return Split.EXPERT_PAIRS;
    }
    if (name.endsWith(UNGATED) || name.endsWith(SHARED_UNGATED)) {
      return Split.EXPERT_ROWS;
    }
    boolean second = name.endsWith(SECOND) || name.endsWith(SHARED_SECOND);
    return second ? Split.COLUMNS : Split.WHOLE;
  }

  /** What a parameter is in a file: itself, or the matrices of its experts. */
  public static List<Piece> pieces(String name, List<Long> shape) {
    boolean up = name.endsWith(FIRST) || name.endsWith(SHARED_FIRST);
    boolean shared =
        name.endsWith(SHARED_FIRST) || name.endsWith(SHARED_UNGATED) || name.endsWith(SHARED_SECOND);
    boolean ungated = name.endsWith(UNGATED) || name.endsWith(SHARED_UNGATED);
    if (!up && !ungated && !shared && !name.endsWith(SECOND)) {
      return List.of(new Piece(name, shape, 0));
    }
    String prefix = name.substring(0, name.lastIndexOf('.') + 1);
    boolean mixtral = name.contains(MIXTRAL);
    long rows = shape.get(1) / (up ? 2 : 1);
    List<Long> matrix = List.of(rows, shape.get(2));
    List<Piece> pieces = new ArrayList<>();
    for (long e = 0; e < shape.get(0); e++) {
      long first = e * shape.get(1) * shape.get(2);
      String expert = shared ? prefix : prefix + e + ".";
      if (up) {
        pieces.add(new Piece(expert + (mixtral ? "w1" : "gate_proj") + ".weight", matrix, first));
        pieces.add(
            new Piece(
                expert + (mixtral ? "w3" : "up_proj") + ".weight",
                matrix,
                first + rows * shape.get(2)));
      } else {
        String part = ungated ? "up_proj" : mixtral ? "w2" : "down_proj";
        pieces.add(new Piece(expert + part + ".weight", matrix, first));
      }
    }
    return pieces;
  }

  /** The names under which a file may hold a parameter whole. */
  public static List<String> whole(String name) {
    return name.contains(MIXTRAL) ? List.of(name, name.replace(MIXTRAL, "mlp")) : List.of(name);
  }
}
