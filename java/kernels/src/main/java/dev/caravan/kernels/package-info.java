/**
 * The binding of the native kernels: loader, devices, memory, streams and typed op calls.
 */
package dev.caravan.kernels;
