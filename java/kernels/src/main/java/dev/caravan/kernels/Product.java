package dev.caravan.kernels;

/**
 * A matrix product {@code c = alpha * op(a) op(b) + beta * c}, sums in float32. {@code c} must not
 * overlap {@code a} or {@code b}.
 *
 * <p>{@code rows} says how many leading rows are in use: of {@code a} and {@code c}, or with {@code
 * transposeA} of {@code a} and {@code b}. Rows beyond are a buffer's padding, and an implementation
 * may leave them out or compute them. Who gives {@code rows} therefore sees to it that both are
 * right: nobody reads rows of {@code c} beyond for their values, all that lies beyond in {@code a}
 * and {@code b} is finite, and with {@code transposeA}, where rows beyond would be summed, one of
 * {@code a} and {@code b} is zero there.
 *
 * @param a float [M, K], or [K, M] when {@code transposeA}
 * @param transposeA how {@code a} is stored
 * @param b float [K, N], or [N, K] when {@code transposeB}
 * @param transposeB how {@code b} is stored
 * @param c float [M, N]
 * @param rows i32 [1], or null when all are in use
 * @param alpha factor of the product
 * @param beta factor of what is in {@code c}; 0 overwrites it
 */
public record Product(
    TensorRef a,
    boolean transposeA,
    TensorRef b,
    boolean transposeB,
    TensorRef c,
    TensorRef rows,
    float alpha,
    float beta) {}
