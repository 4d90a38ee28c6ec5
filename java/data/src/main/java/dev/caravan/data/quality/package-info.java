/**
 * Which raw text is worth reading: a linear classifier of curated against raw text over hashed
 * words, and a draw by its scores. Du et al. 2021 (GLaM, arXiv 2112.06905), section 3; Brown et al.
 * 2020 (GPT-3, arXiv 2005.14165), appendix A.
 */
package dev.caravan.data.quality;
