/**
 * NVIDIA's own libraries beside our kernels, through their JavaCPP presets: found, loaded and called
 * here and nowhere else. Without a driver no class of a preset is touched.
 */
package dev.caravan.kernels.nvidia;
