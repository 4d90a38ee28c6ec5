// Adafactor for one tensor, in three passes over it, as its clipping by the size of the whole
// update asks for: second moments; the size of the update; the update. Nothing of the tensor's size
// is stored between them: the update is made again from the moments. Of a part of a parameter each
// pass is a call of its own, with sums over all parts in between.
//
// Where the papers leave a choice, as Hugging Face transformers' Adafactor has it: decay uses the
// same, scaled step size, and m is a mean of updates that the step size has scaled.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "core/adafactor_layout.h"
#include "cpu/kernels.h"
#include "cpu/master.h"
#include "cpu/simd.h"

namespace caravan {
namespace CARAVAN_ISA {
namespace {

// What is the same for all elements of a step.
struct Step {
    float clip;          // on the gradient
    float beta2, rest2;  // rest = 1 - beta
    float beta1, rest1;
    float eps1;
};

Step step_of(const caravan_adafactor_args& args) {
    const auto& state = *data<caravan_step_state>(args.state);
    const double rest2 =
        std::pow(static_cast<double>(state.step), -static_cast<double>(args.decay_rate));
    return {state.clip_factor,
            static_cast<float>(1 - rest2),
            static_cast<float>(rest2),
            args.beta1,
            static_cast<float>(1 - static_cast<double>(args.beta1)),
            args.eps1};
}

double ordered_sum(const double* values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += values[i];
    return sum;
}

// One tensor and one step on it. G is the gradient's storage, P the parameter's.
template <typename P, typename G>
class Adafactor {
  public:
    Adafactor(Pool& pool, const caravan_adafactor_args& args)
        : pool_(pool),
          args_(args),
          step_(step_of(args)),
          layout_(adafactor_layout(CARAVAN_CPU, args.param, args.factored != 0)),
          master_(args.param, args.remainder),
          grad_(data<G>(args.grad)),
          param_squares_(data<double>(args.workspace)),
          update_squares_(param_squares_ + layout_.blocks.count),
          column_sums_(reinterpret_cast<float*>(update_squares_ + layout_.blocks.count)),
          column_factors_(column_sums_ + layout_.blocks.count * layout_.columns),
          part_(args.phase != CARAVAN_ADAFACTOR_ALL),
          parts_(part_ ? args.parts : 1),
          totals_(part_ ? data<float>(args.sums) : nullptr) {}

    void run() {
        if (layout_.rows * layout_.columns == 0) return;
        const int32_t phase = args_.phase;
        const bool all = phase == CARAVAN_ADAFACTOR_ALL;
        if (all || phase == CARAVAN_ADAFACTOR_SUM) sum();
        if (all || phase == CARAVAN_ADAFACTOR_MEASURE) measure();
        if (all || phase == CARAVAN_ADAFACTOR_UPDATE) update();
    }

  private:
    // Algorithm 4, or 5 without factors, as far as this part's own elements suffice.
    void sum() {
        if (layout_.factored) {
            factored_moments();
        } else {
            moments_and_measure();
        }
        if (!part_) return;
        totals_[0] = static_cast<float>(ordered_sum(param_squares_, layout_.blocks.count));
        totals_[1] = rows_are_cut() ? static_cast<float>(sum_of_rows()) : 0.0f;
        if (!layout_.factored) store_update_squares();
    }

    void measure() {
        if (!layout_.factored) return;
        if (part_) moments_across();
        find_factors();
        measure_factored();
        if (part_) store_update_squares();
    }

    void update() {
        if (part_ && layout_.factored) find_factors();
        const double n = static_cast<double>(layout_.rows) * static_cast<double>(layout_.columns) *
                         static_cast<double>(parts_);
        const double updates = part_ ? static_cast<double>(*data<float>(args_.squares))
                                     : ordered_sum(update_squares_, layout_.blocks.count);
        const double update_rms = std::sqrt(updates / n);
        double rate = static_cast<double>(data<caravan_step_state>(args_.state)->lr);
        if (args_.scale_parameter != 0) {
            const double params = part_ ? static_cast<double>(totals_[0])
                                        : ordered_sum(param_squares_, layout_.blocks.count);
            rate *= std::max(static_cast<double>(args_.eps2), std::sqrt(params / n));
        }
        const double clip = std::max(1.0, update_rms / static_cast<double>(args_.clip_threshold));
        update_scale_ = static_cast<float>(rate / clip);
        decay_ = static_cast<float>(rate * static_cast<double>(args_.weight_decay));
        for_each_run(
            [&](int64_t, int64_t r, int64_t first, int64_t count) { apply(r, first, count); });
    }

    bool rows_are_cut() const { return part_ && layout_.factored && args_.cut == 0; }
    bool columns_are_cut() const { return part_ && layout_.factored && args_.cut == 1; }
    // Sums across the cut: of whole columns where rows are cut, of whole rows where columns are.
    float* sums_across() const { return totals_ + 2; }

    void store_update_squares() {
        *data<float>(args_.squares) =
            static_cast<float>(ordered_sum(update_squares_, layout_.blocks.count));
    }

    double sum_of_rows() const {
        const float* const row = data<float>(args_.row);
        double sum = 0;
        for (int64_t r = 0; r < layout_.rows; ++r) sum += static_cast<double>(row[r]);
        return sum;
    }

    float moment(float before, float mean) const {
        return before * step_.beta2 + mean * step_.rest2;
    }

    // body(block, row, first, count) for every run of elements: a row, or a block of one that is
    // not factored; `first` counts from the tensor's start.
    template <typename Body>
    void for_each_run(Body&& body) {
        const Blocks& blocks = layout_.blocks;
        pool_.run(blocks.count, [&](int64_t block, int) {
            const int64_t begin = blocks.begin(block), end = blocks.end(block);
            if (!layout_.factored) return body(block, 0, begin, end - begin);
            for (int64_t r = begin; r < end; ++r) {
                body(block, r, r * layout_.columns, layout_.columns);
            }
        });
    }

    template <typename Part>
    Vec gradient(int64_t i, Part part) const {
        return load(grad_ + i, part) * step_.clip;
    }

    double param_squares(int64_t first, int64_t count) const {
        if (args_.scale_parameter == 0) return 0;
        return static_cast<double>(sum_vectors(count, [&](int64_t i, auto part) {
            const Vec p = master_.read(first + i, part);
            return p * p;
        }));
    }

    // Algorithm 4: running means over each row and each column of g^2 + eps1; of rows, or columns,
    // that are cut only the sums.
    void factored_moments() {
        const int64_t columns = layout_.columns;
        std::fill(param_squares_, param_squares_ + layout_.blocks.count, 0.0);
        std::fill(column_sums_, column_sums_ + layout_.blocks.count * columns, 0.0f);
        float* const row = data<float>(args_.row);
        for_each_run([&](int64_t block, int64_t r, int64_t first, int64_t count) {
            float* const sums = column_sums_ + block * columns;
            const float total = sum_vectors(count, [&](int64_t i, auto part) {
                const Vec g = gradient(first + i, part);
                const Vec square = g * g + step_.eps1;
                store(sums + i, load(sums + i, part) + square, part);
                return inside(square, part);
            });
            if (columns_are_cut()) {
                sums_across()[r] = total;
            } else {
                row[r] = moment(row[r], total / static_cast<float>(count));
            }
            param_squares_[block] += param_squares(first, count);
        });

        float* const col = data<float>(args_.col);
        const Blocks chunks = blocks_of(columns, 256);
        pool_.run(chunks.count, [&](int64_t chunk, int) {
            const int64_t first = chunks.begin(chunk);
            for_vectors(chunks.end(chunk) - first, [&](int64_t offset, auto part) {
                const int64_t i = first + offset;
                Vec total = {};
                for (int64_t block = 0; block < layout_.blocks.count; ++block) {
                    total += load(column_sums_ + block * columns + i, part);
                }
                if (rows_are_cut()) return store(sums_across() + i, total, part);
                const Vec mean = total / static_cast<float>(layout_.rows);
                store(col + i, load(col + i, part) * step_.beta2 + mean * step_.rest2, part);
            });
        });
    }

    // The means that sums over all parts were needed for.
    void moments_across() {
        float* const to = data<float>(rows_are_cut() ? args_.col : args_.row);
        const int64_t count = rows_are_cut() ? layout_.columns : layout_.rows;
        const auto whole =
            static_cast<float>(parts_ * (rows_are_cut() ? layout_.rows : layout_.columns));
        for (int64_t i = 0; i < count; ++i) to[i] = moment(to[i], sums_across()[i] / whole);
    }

    // From the moments what an update of any element takes.
    void find_factors() {
        for_vectors(layout_.columns, [&](int64_t i, auto part) {
            store(column_factors_ + i, 1.0f / sqrt(load(data<float>(args_.col) + i, part)), part);
        });
        const auto rows = static_cast<double>(layout_.rows);
        row_mean_ = static_cast<float>(
            rows_are_cut() ? static_cast<double>(totals_[1]) / (rows * static_cast<double>(parts_))
                           : sum_of_rows() / rows);
    }

    // g / sqrt(v) with v = row col^T / mean(row), or the v that is kept.
    template <typename Part>
    Vec raw_update(int64_t r, int64_t first, int64_t i, Part part) const {
        const Vec g = gradient(first + i, part);
        if (!layout_.factored) return g / sqrt(load(data<float>(args_.v) + first + i, part));
        return g * row_factor(r) * load(column_factors_ + i, part);
    }

    float row_factor(int64_t r) const {
        return 1.0f / std::sqrt(data<float>(args_.row)[r] / row_mean_);
    }

    double update_squares(int64_t r, int64_t first, int64_t count) const {
        return static_cast<double>(sum_vectors(count, [&](int64_t i, auto part) {
            const Vec u = inside(raw_update(r, first, i, part), part);
            return u * u;
        }));
    }

    void measure_factored() {
        std::fill(update_squares_, update_squares_ + layout_.blocks.count, 0.0);
        for_each_run([&](int64_t block, int64_t r, int64_t first, int64_t count) {
            update_squares_[block] += update_squares(r, first, count);
        });
    }

    // Algorithm 5 without factors: v of every element.
    void moments_and_measure() {
        for_each_run([&](int64_t block, int64_t r, int64_t first, int64_t count) {
            float* const v = data<float>(args_.v) + first;
            for_vectors(count, [&](int64_t i, auto part) {
                const Vec g = gradient(first + i, part);
                const Vec square = g * g + step_.eps1;
                store(v + i, load(v + i, part) * step_.beta2 + square * step_.rest2, part);
            });
            param_squares_[block] = param_squares(first, count);
            update_squares_[block] = update_squares(r, first, count);
        });
    }

    void apply(int64_t r, int64_t first, int64_t count) const {
        float* const m = args_.beta1 > 0 ? data<float>(args_.m) + first : nullptr;
        for_vectors(count, [&](int64_t i, auto part) {
            Vec update = raw_update(r, first, i, part) * update_scale_;
            if (m != nullptr) {
                update = load(m + i, part) * step_.beta1 + update * step_.rest1;
                store(m + i, update, part);
            }
            const Vec p = master_.read(first + i, part);
            master_.write(first + i, p - p * decay_ - update, part);
        });
    }

    Pool& pool_;
    const caravan_adafactor_args& args_;
    const Step step_;
    const AdafactorLayout layout_;
    const Master<P> master_;
    const G* const grad_;
    double* const param_squares_;
    double* const update_squares_;
    float* const column_sums_;
    float* const column_factors_;
    const bool part_;
    const int64_t parts_;
    float* const totals_;
    float row_mean_ = 0;
    float update_scale_ = 0;
    float decay_ = 0;
};

}  // namespace

void adafactor_step(Pool& pool, const caravan_adafactor_args& args) {
    with_storage(args.param.dtype, [&](auto param_tag) {
        using P = std::remove_pointer_t<decltype(param_tag)>;
        with_storage(args.grad.dtype, [&](auto grad_tag) {
            using G = std::remove_pointer_t<decltype(grad_tag)>;
            Adafactor<P, G>(pool, args).run();
        });
    });
}

}  // namespace CARAVAN_ISA
}  // namespace caravan
