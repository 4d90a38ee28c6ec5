/**
 * What an example's words have besides its template's: exemplars before it, its answer options as a
 * list, and phrases chosen among several. All choices are pure functions of a key.
 */
package dev.caravan.data.mix.words;
