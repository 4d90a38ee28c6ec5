/**
 * A task ties files, format, fields and template together; loading it makes rows and counts what
 * was cut or left out.
 */
package dev.caravan.data.task;
