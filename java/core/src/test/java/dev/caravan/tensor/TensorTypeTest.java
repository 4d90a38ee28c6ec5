package dev.caravan.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.caravan.kernels.DType;
import org.junit.jupiter.api.Test;

class TensorTypeTest {
  @Test
  void countsElementsBytesAndRows() {
    TensorType type = new TensorType(DType.BF16, 3, 4, 5);
    assertEquals(3, type.rank());
    assertEquals(60, type.elements());
    assertEquals(120, type.byteSize());
    assertEquals(12, type.rows());
    assertEquals(1, TensorType.f32(7).rows());
  }

  @Test
  void axesCountFromEitherEnd() {
    TensorType type = TensorType.f32(3, 4, 5);
    assertEquals(3, type.dim(0));
    assertEquals(5, type.dim(-1));
    assertEquals(4, type.dim(-2));
  }

  @Test
  void aTensorMayBeEmpty() {
    TensorType type = TensorType.i32(3, 0);
    assertEquals(0, type.elements());
    assertEquals(0, type.byteSize());
    assertEquals(0, type.rows());
  }

  @Test
  void equalTypesAreEqual() {
    assertEquals(TensorType.f32(3, 4), new TensorType(DType.F32, 3, 4));
    assertEquals(TensorType.f32(3, 4).hashCode(), new TensorType(DType.F32, 3, 4).hashCode());
    assertNotEquals(TensorType.f32(3, 4), TensorType.f32(4, 3));
    assertNotEquals(TensorType.f32(3, 4), TensorType.i32(3, 4));
    assertNotEquals(TensorType.f32(12), TensorType.f32(3, 4));
  }

  @Test
  void nobodyChangesAShapeFromOutside() {
    long[] shape = {3, 4};
    TensorType type = TensorType.f32(shape);
    shape[0] = 9;
    type.shape()[1] = 9;
    assertEquals(TensorType.f32(3, 4), type);
  }

  @Test
  void readsAsItsDtypeAndShape() {
    assertEquals("bf16[3, 4]", new TensorType(DType.BF16, 3, 4).toString());
    Tensor tensor = new Tensor(0, "layers.0/matmul", TensorType.f32(2), Tensor.Role.ACTIVATION);
    assertEquals("layers.0/matmul: f32[2]", tensor.toString());
  }

  @Test
  void impossibleShapesAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> TensorType.f32());
    assertThrows(IllegalArgumentException.class, () -> TensorType.f32(1, 2, 3, 4, 5));
    assertThrows(IllegalArgumentException.class, () -> TensorType.f32(2, -1));
  }

  @Test
  void whatCannotBeCountedFailsRatherThanWrapsAround() {
    TensorType type = TensorType.f32(1L << 40, 1L << 40);
    assertThrows(ArithmeticException.class, type::elements);
    assertThrows(ArithmeticException.class, TensorType.f32(1L << 62)::byteSize);
  }
}
