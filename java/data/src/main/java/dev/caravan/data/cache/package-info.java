/**
 * A cache on disk: files that are named after a hash of everything that their content depends on,
 * written whole or not at all, checked when they are opened, and read through memory maps. What is
 * wrong with one is never an error: it is made anew.
 */
package dev.caravan.data.cache;
