// Buckets of relative positions. Source: Raffel et al. 2020, arXiv 1910.10683, section 2.1: half of
// the buckets hold one distance each, the other half grow logarithmically up to max_distance, and
// the last holds all beyond. Agrees with Hugging Face's T5 for the tables of published checkpoints.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace caravan {

class RelativeBuckets {
  public:
    RelativeBuckets() = default;

    // buckets: at least 2, or an even number from 4 on when bidirectional; max_distance: more than
    // the distances with a bucket of their own, which are a half (a quarter) of `buckets`.
    RelativeBuckets(int64_t buckets, bool bidirectional, int64_t max_distance)
        : side_(bidirectional ? buckets / 2 : buckets),
          exact_(side_ / 2),
          max_distance_(max_distance),
          bidirectional_(bidirectional),
          per_log_(static_cast<double>(side_ - exact_) /
                   std::log(static_cast<double>(max_distance) / static_cast<double>(exact_))) {}

    // The bucket of a key `distance` positions behind (negative) or ahead of (positive) its query.
    CARAVAN_HOST_DEVICE int64_t of(int64_t distance) const {
        const int64_t first = bidirectional_ && distance > 0 ? side_ : 0;
        const int64_t far = distance < 0 ? -distance : bidirectional_ ? distance : 0;
        if (far < exact_) return first + far;
        if (far >= max_distance_) return first + side_ - 1;
        // Where the logarithm is a whole number, rounding must not fall below it.
        const double steps =
            std::log(static_cast<double>(far) / static_cast<double>(exact_)) * per_log_ + 1e-9;
        const int64_t bucket = exact_ + static_cast<int64_t>(steps);
        return first + (bucket < side_ ? bucket : side_ - 1);
    }

    // How many buckets a side has, and how many of them hold one distance each.
    int64_t side() const { return side_; }
    int64_t exact() const { return exact_; }
    bool bidirectional() const { return bidirectional_; }

    // The smallest distance from 0 that reaches bucket `b` of a side, exact() < b < side().
    int64_t reaches(int64_t b) const {
        const double near =
            static_cast<double>(exact_) * std::exp(static_cast<double>(b - exact_) / per_log_);
        auto distance = static_cast<int64_t>(near);
        while (distance > exact_ && of(-distance) >= b) --distance;
        while (of(-distance) < b) ++distance;
        return distance;
    }

    // Every distance at least this far from 0 has the bucket of its side's last.
    int64_t max_distance() const { return max_distance_; }

  private:
    int64_t side_ = 1, exact_ = 1, max_distance_ = 1;
    bool bidirectional_ = false;
    double per_log_ = 0;
};

}  // namespace caravan
