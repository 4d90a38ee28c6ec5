/** Which example comes when: pure functions of (seed, k). */
package dev.caravan.data.mixture;
