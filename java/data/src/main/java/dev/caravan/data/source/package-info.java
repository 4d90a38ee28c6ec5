/**
 * From files to examples, one line or record at a time; every bad one is an error that names file
 * and line.
 */
package dev.caravan.data.source;
