package dev.caravan.data.task;

import dev.caravan.data.RowSet;

/**
 * Rows and the account of how they came about.
 *
 * @param rows in the order of files and lines
 * @param report what was cut or left out
 */
public record LoadedRows(RowSet rows, TruncationReport report) {}
