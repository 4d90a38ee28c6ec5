/**
 * From files to tokenized rows: sources, tasks, templates, tokenizers, mixtures, packing.
 */
package dev.caravan.data;
