/** Kernel benches under JMH. */
package dev.caravan.bench.jmh;
