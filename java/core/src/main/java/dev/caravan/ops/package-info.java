/** The typed op records: what each op computes, its gradient, its kernel calls. */
package dev.caravan.ops;
