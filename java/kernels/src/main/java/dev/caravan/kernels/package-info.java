/**
 * The native kernels for Java: loader, devices, memory, streams and one typed call for every op.
 *
 * <p>Everything is an address and a number here; there are no tensors, layers or models, so that
 * any trainer can use it. {@code caravan.h} is the specification of the ops; the classes here
 * repeat its shapes. Letters in shapes: T tokens (rows of a packed buffer), D model width, F
 * feed-forward width, H query heads, K key/value heads, N head width, V vocabulary, R rows, S
 * documents. "float" is float32 or bfloat16; "=" means overwritten, "+=" added to.
 *
 * <p>A {@link dev.caravan.kernels.KernelCall} is prepared once and run many times: running it
 * allocates nothing.
 */
package dev.caravan.kernels;
