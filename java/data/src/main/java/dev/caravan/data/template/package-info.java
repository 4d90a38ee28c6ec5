/**
 * From an example to the words of a sequence, with prompt and response told apart by structure: a
 * template makes segments, each of which is a target or not.
 */
package dev.caravan.data.template;
