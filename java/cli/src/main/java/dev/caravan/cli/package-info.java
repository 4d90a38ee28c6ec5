/** The command line: one class a verb. */
package dev.caravan.cli;
