// Rows of a table, plainly, and the sum of gradients into it, one addition after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace reference {

template <typename Real>
std::vector<Real> embedding_forward(const std::vector<int64_t>& ids, const std::vector<Real>& table,
                                    size_t width) {
    std::vector<Real> out;
    for (int64_t id : ids) {
        for (size_t i = 0; i < width; ++i)
            out.push_back(table[static_cast<size_t>(id) * width + i]);
    }
    return out;
}

// round(value): what storage keeps of a sum.
template <typename Round>
std::vector<double> embedding_backward(const std::vector<int64_t>& ids,
                                       const std::vector<double>& d_out,
                                       std::vector<double> d_table, size_t width, Round&& round) {
    for (size_t t = 0; t < ids.size(); ++t) {
        for (size_t i = 0; i < width; ++i) {
            double& sum = d_table[static_cast<size_t>(ids[t]) * width + i];
            sum = round(sum + d_out[t * width + i]);
        }
    }
    return d_table;
}

}  // namespace reference
