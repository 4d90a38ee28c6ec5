/** The words that model functions are written in. */
package dev.caravan.nn;
