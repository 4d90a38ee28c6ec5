/**
 * Makes the data of the recipes quickstart and quickstart-base from what the JDK knows: facts, the
 * plain sentences that state them, the instructions that ask for them, and a tokenizer. Run by
 * hand, through {@link dev.caravan.cli.quickstart.QuickstartData}; what it made lies in the jar.
 */
package dev.caravan.cli.quickstart;
