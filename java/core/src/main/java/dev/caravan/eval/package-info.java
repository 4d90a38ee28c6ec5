/** What a trained model is used for: scoring rows and generating text. */
package dev.caravan.eval;
