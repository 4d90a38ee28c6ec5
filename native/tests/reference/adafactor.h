// Adafactor, plainly: Shazeer and Stern 2018, algorithms 4 and 5, for a matrix (rows x columns) or,
// not factored, for any number of elements as one row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace reference {

template <typename Real>
Real rms(const std::vector<Real>& values) {
    Real sum = 0;
    for (Real value : values) sum += value * value;
    return std::sqrt(sum / static_cast<Real>(values.size()));
}

template <typename Real>
struct Adafactor {
    Real lr, beta1, decay_rate, eps1, eps2, clip_threshold, weight_decay, clip;
    bool scale_parameter, factored;
    size_t rows, columns;
    std::vector<Real> row, col, v, m;

    std::vector<Real> second_moments(int t, const std::vector<Real>& g) {
        const Real rest = static_cast<Real>(std::pow(t, -static_cast<double>(decay_rate)));
        const Real beta2 = 1 - rest;
        if (!factored) {
            v.resize(g.size());
            for (size_t i = 0; i < g.size(); ++i) v[i] = beta2 * v[i] + rest * (g[i] * g[i] + eps1);
            return v;
        }
        row.resize(rows);
        col.resize(columns);
        std::vector<Real> row_mean(rows), col_mean(columns), moments(g.size());
        for (size_t i = 0; i < g.size(); ++i) {
            const Real square = g[i] * g[i] + eps1;
            row_mean[i / columns] += square / static_cast<Real>(columns);
            col_mean[i % columns] += square / static_cast<Real>(rows);
        }
        Real mean = 0;
        for (size_t r = 0; r < rows; ++r) {
            row[r] = beta2 * row[r] + rest * row_mean[r];
            mean += row[r] / static_cast<Real>(rows);
        }
        for (size_t c = 0; c < columns; ++c) col[c] = beta2 * col[c] + rest * col_mean[c];
        for (size_t i = 0; i < g.size(); ++i)
            moments[i] = row[i / columns] / mean * col[i % columns];
        return moments;
    }

    void step(int t, std::vector<Real>& param, const std::vector<Real>& grad) {
        std::vector<Real> g = grad;
        for (Real& value : g) value *= clip;
        const std::vector<Real> moments = second_moments(t, g);
        std::vector<Real> update(g.size());
        for (size_t i = 0; i < g.size(); ++i) update[i] = g[i] / std::sqrt(moments[i]);
        const Real rate = lr * (scale_parameter ? std::max(eps2, rms(param)) : Real{1});
        const Real shrink = std::max(Real{1}, rms(update) / clip_threshold);
        m.resize(g.size());
        for (size_t i = 0; i < g.size(); ++i) {
            Real change = update[i] / shrink * rate;
            if (beta1 > 0) change = m[i] = beta1 * m[i] + (1 - beta1) * change;
            param[i] = param[i] - rate * weight_decay * param[i] - change;
        }
    }
};

}  // namespace reference
