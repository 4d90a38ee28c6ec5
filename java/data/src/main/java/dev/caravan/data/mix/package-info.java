/**
 * Mixtures of tasks: a mixture file declares tasks and how often each is drawn; its examples are
 * put into words and tokens window by window, ahead of need.
 */
package dev.caravan.data.mix;
