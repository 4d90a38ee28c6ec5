/**
 * Checks of data before it is trained on: each finds what would go wrong quietly, and says where it
 * is and what to do.
 */
package dev.caravan.data.doctor;
