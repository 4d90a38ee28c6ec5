package dev.caravan.ops;

import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.TensorType;
import java.util.List;

/**
 * {@code out[t] = table[ids[t]]}. Inputs: ids i32 [T], table [V, D], rows i32 [1]: how many leading ids
 * are in use. Output: out [T, D].
 *
 * @param vocabulary of which the table is a part: ids of other parts give rows of 0, and add nothing to
 *     its gradient
 */
public record Embedding(Vocabulary vocabulary) implements Op {
  /** Of a whole table. */
  public Embedding() {
    this(Vocabulary.WHOLE);
  }

  @Override
  public String name() {
    return "embedding";
  }

  @Override
  public List<TensorType> outputs(List<Tensor> in) {
    Shapes.need("ids", in.get(0), Shapes.ANY);
    Shapes.need("table", in.get(1), Shapes.ANY, Shapes.ANY);
    Shapes.need("rows", in.get(2), 1);
    vocabulary.check("table", in.get(1));
    return List.of(new TensorType(in.get(1).type().dtype(), in.get(0).dim(0), in.get(1).dim(1)));
  }

  @Override
  public void backward(Node node, Gradients gradients) {
    Tensor table = node.in(1);
    Tensor d = gradients.of(node.out(0));
    Tensor sum = gradients.owned(table);
    gradients.set(
        table, gradients.emit(new Backward(vocabulary), node.in(0), d, node.in(2), sum).get(0));
  }

  @Override
  public List<Launch> launches(Node node, Addresses memory) {
    return List.of(
        memory.launch(
            dev.caravan.kernels.Embedding.forwardOfPart(
                memory.ref(node.in(0)),
                memory.ref(node.in(1)),
                memory.ref(node.out(0)),
                vocabulary.first(memory),
                vocabulary.size())));
  }

  /** {@code d_table[ids[t]] += d_out[t]}. Inputs: ids, d_out [T, D], rows, d_table, added to in place. */
  public record Backward(Vocabulary vocabulary) implements Op {
    @Override
    public String name() {
      return "embedding_backward";
    }

    @Override
    public List<TensorType> outputs(List<Tensor> in) {
      return List.of(in.get(3).type());
    }

    @Override
    public int inPlace(int output) {
      return 3;
    }

    @Override
    public List<Launch> launches(Node node, Addresses memory) {
      return List.of(
          memory.launch(
              dev.caravan.kernels.Embedding.backwardOfPart(
                  memory.ref(node.in(0)),
                  memory.ref(node.in(1)),
                  memory.ref(node.in(3)),
                  memory.ref(node.in(2)),
                  vocabulary.first(memory),
                  vocabulary.size())));
    }
  }
}
