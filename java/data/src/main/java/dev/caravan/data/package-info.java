/**
 * From files of instructions to packed token buffers, with no device and no native code of ours.
 *
 * <p>The rooms, in the order in which a line of data passes through them: {@code source} reads
 * files into examples, {@code template} gives them prompt and response, {@code tokenize} makes
 * token ids, {@code task} ties these together into rows, {@code mixture} decides whose turn it is,
 * {@code pack} fills the buffers of a training step.
 */
package dev.caravan.data;
