/** The static graph and the passes that make a plan of it: autodiff, recompute, memory plan, executor. */
package dev.caravan.graph;
