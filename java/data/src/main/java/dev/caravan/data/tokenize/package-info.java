/**
 * Text to token ids and back, with exactly the ids of the libraries that the models were trained
 * with.
 *
 * <p>{@code tokenizer.json} is run by Hugging Face's own Rust tokenizer and SentencePiece {@code
 * .model} files by the SentencePiece library itself, both through DJL's bindings; llama2.c's {@code
 * .bin} vocabularies are small enough to be run here.
 */
package dev.caravan.data.tokenize;
