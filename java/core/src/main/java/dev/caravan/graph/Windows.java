package dev.caravan.graph;

import dev.caravan.graph.FlatLayout.Bucket;
import dev.caravan.kernels.DType;
import dev.caravan.ops.Node;
import dev.caravan.tensor.Tensor;
import dev.caravan.tensor.Tensor.Role;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * When the buckets that ranks keep in parts lie whole in the arena: from the node that opens a window to
 * the last that touches one of the bucket's tensors before the next opening.
 */
final class Windows {
  /**
   * One window.
   *
   * @param bucket whose tensors
   * @param role PARAMETER or GRADIENT
   * @param bytes of the whole bucket
   * @param first node that opens it
   * @param last node that needs it
   */
  record Window(Bucket bucket, Role role, long bytes, int first, int last) {}

  private record Key(Bucket bucket, Role role) {}

  private final List<Window> windows = new ArrayList<>();

  private Windows() {}

  /** The windows of a graph. */
  static Windows of(Graph graph, FlatLayout layout, DType storage) {
    Windows all = new Windows();
    Map<Tensor, Tensor> roots = Plan.roots(graph);
    Map<Key, Window> open = new LinkedHashMap<>();
    for (int i = 0; i < graph.nodes().size(); i++) {
      Node node = graph.nodes().get(i);
      Map<Key, Boolean> touched = new HashMap<>();
      List<Tensor> tensors = new ArrayList<>(node.inputs());
      tensors.addAll(node.outputs());
      for (Tensor tensor : tensors) {
        if (tensor.role() == Role.PARAMETER || tensor.role() == Role.GRADIENT) {
          touched.put(key(roots.getOrDefault(tensor, tensor), layout), true);
        }
      }
      for (Key key : touched.keySet()) {
        Window before = open.get(key);
        if (node.op().opensWindow()) {
          if (before != null) {
            all.windows.add(before);
          }
          DType dtype = key.role == Role.PARAMETER ? storage : DType.F32;
          long bytes = key.bucket.elements() * dtype.bytes();
          open.put(key, new Window(key.bucket, key.role, bytes, i, i));
        } else if (before != null) {
          open.put(key, new Window(before.bucket, before.role, before.bytes, before.first, i));
        }
      }
    }
    all.windows.addAll(open.values());
    return all;
  }

  private static Key key(Tensor root, FlatLayout layout) {
    return new Key(layout.bucket(parameter(root)), root.role());
  }

  /** The weight that a leaf is, or is the gradient of. */
  static String parameter(Tensor leaf) {
    return leaf.role() == Role.GRADIENT ? Autodiff.parameterName(leaf.name()) : leaf.name();
  }

  /** The windows in no particular order. */
  List<Window> all() {
    return windows;
  }

  /** The window in which a leaf lies at a node, or null where it has none. */
  Window at(Tensor leaf, FlatLayout layout, int node) {
    Key key = key(leaf, layout);
    for (Window window : windows) {
      boolean same = window.bucket == key.bucket && window.role == key.role;
      if (same && window.first <= node && node <= window.last) {
        return window;
      }
    }
    return null;
  }
}
