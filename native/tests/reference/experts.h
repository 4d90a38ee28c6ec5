// Sparse experts by the header's formulas, in a type of choice: double is the reference, float the
// plain implementation that the kernels are measured against.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/reference/glu.h"

namespace reference {

using Ints = std::vector<int64_t>;
using Numbers = std::vector<double>;

inline size_t at(int64_t i) { return static_cast<size_t>(i); }

struct Router {
    int64_t tokens, experts, choices, rows;
    bool sigmoid, renormalise;
};

template <typename Real>
struct Scores {
    std::vector<Real> soft, p;  // soft-max; what is chosen by and weighted with
    Real lse, total;
};

template <typename Real>
Scores<Real> scores(const Router& r, const Numbers& logits, int64_t t) {
    Scores<Real> s;
    Real most = -INFINITY, sum = 0;
    const auto x = [&](int64_t e) { return static_cast<Real>(logits[at(t * r.experts + e)]); };
    for (int64_t e = 0; e < r.experts; ++e) most = std::max(most, x(e));
    for (int64_t e = 0; e < r.experts; ++e) sum += std::exp(x(e) - most);
    s.lse = most + std::log(sum);
    s.total = 0;
    for (int64_t e = 0; e < r.experts; ++e) {
        s.soft.push_back(std::exp(x(e) - most) / sum);
        s.p.push_back(r.sigmoid ? 1 / (1 + std::exp(-x(e))) : s.soft.back());
        s.total += s.p.back();
    }
    if (!r.sigmoid) s.total = 1;
    return s;
}

struct Routed {
    Numbers weights, stats;
    Ints experts;
};

// The C largest logits of every token, the lower expert first of equal ones.
inline Ints choose(const Router& r, const Numbers& logits) {
    Ints experts;
    for (int64_t t = 0; t < r.tokens; ++t) {
        std::vector<bool> taken(at(r.experts), false);
        for (int64_t c = 0; c < r.choices; ++c) {
            int64_t best = -1;
            for (int64_t e = 0; e < r.experts && t < r.rows; ++e) {
                const double x = logits[at(t * r.experts + e)];
                if (!taken[at(e)] && (best < 0 || x > logits[at(t * r.experts + best)])) best = e;
            }
            experts.push_back(best);
            if (best >= 0) taken[at(best)] = true;
        }
    }
    return experts;
}

template <typename Real>
Routed route(const Router& r, const Numbers& logits, const Ints& experts) {
    Routed out = {Numbers(at(r.tokens * r.choices)), Numbers(at(3 * r.experts + 2)), experts};
    std::vector<Real> stats(out.stats.size());
    for (int64_t t = 0; t < r.rows; ++t) {
        const Scores<Real> s = scores<Real>(r, logits, t);
        Real chosen = 0;
        for (int64_t c = 0; c < r.choices; ++c) {
            chosen += s.p[at(experts[at(t * r.choices + c)])];
        }
        for (int64_t c = 0; c < r.choices; ++c) {
            const int64_t e = experts[at(t * r.choices + c)];
            out.weights[at(t * r.choices + c)] =
                static_cast<double>(r.renormalise ? s.p[at(e)] / chosen : s.p[at(e)]);
            stats[at(e)] += 1;
            if (c == 0) stats[at(r.experts + e)] += 1;
        }
        for (int64_t e = 0; e < r.experts; ++e) {
            stats[at(2 * r.experts + e)] += s.p[at(e)] / s.total;
        }
        stats[at(3 * r.experts)] += s.lse * s.lse;
        stats[at(3 * r.experts + 1)] += 1;
    }
    out.stats.assign(stats.begin(), stats.end());
    return out;
}

// d_weights by assignment; factors [E + 1].
template <typename Real>
Numbers route_back(const Router& r, const Numbers& logits, const Ints& experts,
                   const Numbers& d_weights, const Numbers& factors) {
    Numbers d_logits(logits.size());
    for (int64_t t = 0; t < r.rows; ++t) {
        const Scores<Real> s = scores<Real>(r, logits, t);
        std::vector<Real> g(at(r.experts));
        Real mean = 0, chosen = 0, shared = 0;
        for (int64_t e = 0; e < r.experts; ++e) {
            mean += static_cast<Real>(factors[at(e)]) * s.p[at(e)] / s.total;
        }
        for (int64_t e = 0; e < r.experts; ++e) {
            g[at(e)] = static_cast<Real>(factors[at(e)]);
            if (r.sigmoid) g[at(e)] = (g[at(e)] - mean) / s.total;
        }
        for (int64_t c = 0; c < r.choices; ++c) {
            const Real p = s.p[at(experts[at(t * r.choices + c)])];
            chosen += p;
            shared += static_cast<Real>(d_weights[at(t * r.choices + c)]) * p;
        }
        for (int64_t c = 0; c < r.choices; ++c) {
            const auto d = static_cast<Real>(d_weights[at(t * r.choices + c)]);
            g[at(experts[at(t * r.choices + c)])] +=
                r.renormalise ? (d - shared / chosen) / chosen : d;
        }
        Real inner = 0;
        for (int64_t e = 0; e < r.experts; ++e) inner += s.p[at(e)] * g[at(e)];
        for (int64_t e = 0; e < r.experts; ++e) {
            const Real p = s.p[at(e)];
            const Real own = r.sigmoid ? p * (1 - p) * g[at(e)] : p * (g[at(e)] - inner);
            const Real z = 2 * static_cast<Real>(factors[at(r.experts)]) * s.lse * s.soft[at(e)];
            d_logits[at(t * r.experts + e)] = static_cast<double>(own + z);
        }
    }
    return d_logits;
}

struct Sorted {
    Ints offsets, assignments, slots;
};

// A plain loop over the definition: who comes first is served first, first choices before second.
inline Sorted sort_experts(int64_t experts, int64_t choices, const Ints& chosen, int64_t capacity,
                           int64_t group, const std::vector<bool>& wanted) {
    const auto all = static_cast<int64_t>(chosen.size());
    const int64_t tokens = all / choices;
    std::vector<bool> kept(chosen.size(), false);
    for (int64_t first = 0; first < tokens; first += group) {
        std::vector<int64_t> served(at(experts), 0);
        for (int64_t c = 0; c < choices; ++c) {
            for (int64_t t = first; t < std::min(first + group, tokens); ++t) {
                const int64_t i = t * choices + c;
                if (chosen[at(i)] < 0 || !wanted[at(i)]) continue;
                if (capacity > 0 && served[at(chosen[at(i)])] == capacity) continue;
                ++served[at(chosen[at(i)])];
                kept[at(i)] = true;
            }
        }
    }
    Sorted result = {{0}, {}, Ints(chosen.size(), -1)};
    for (int64_t e = 0; e < experts; ++e) {
        for (int64_t i = 0; i < all; ++i) {
            if (!kept[at(i)] || chosen[at(i)] != e) continue;
            result.slots[at(i)] = static_cast<int64_t>(result.assignments.size());
            result.assignments.push_back(i);
        }
        result.offsets.push_back(static_cast<int64_t>(result.assignments.size()));
    }
    result.assignments.resize(chosen.size(), -1);
    return result;
}

inline int64_t expert_of(const Ints& offsets, int64_t row) {
    int64_t e = 0;
    while (offsets[at(e + 1)] <= row) ++e;
    return e;
}

// out [rows, n]: each row by its expert's weights, w [E, n, k], or [E, k, n] when transposed.
// sources says which row of x.
template <typename Real>
Numbers grouped(const Numbers& x, const Ints& sources, const Ints& offsets, const Numbers& w,
                int64_t n, int64_t k, bool transposed) {
    Numbers out;
    for (int64_t r = 0; r < offsets.back(); ++r) {
        const int64_t e = expert_of(offsets, r);
        for (int64_t j = 0; j < n; ++j) {
            Real sum = 0;
            for (int64_t l = 0; l < k; ++l) {
                const int64_t i = transposed ? (e * k + l) * n + j : (e * n + j) * k + l;
                sum +=
                    static_cast<Real>(x[at(sources[at(r)] * k + l)]) * static_cast<Real>(w[at(i)]);
            }
            out.push_back(static_cast<double>(sum));
        }
    }
    return out;
}

// c [E, m, n]: += the sum over an expert's rows of a_r b_r^T.
template <typename Real>
Numbers grouped_outer(const Numbers& a, const Ints& sources_a, const Numbers& b,
                      const Ints& sources_b, const Ints& offsets, int64_t m, int64_t n,
                      const Numbers& before) {
    std::vector<Real> c(before.begin(), before.end());
    for (int64_t r = 0; r < offsets.back(); ++r) {
        const int64_t e = expert_of(offsets, r);
        for (int64_t i = 0; i < m; ++i) {
            for (int64_t j = 0; j < n; ++j) {
                c[at((e * m + i) * n + j)] += static_cast<Real>(a[at(sources_a[at(r)] * m + i)]) *
                                              static_cast<Real>(b[at(sources_b[at(r)] * n + j)]);
            }
        }
    }
    return Numbers(c.begin(), c.end());
}

}  // namespace reference
