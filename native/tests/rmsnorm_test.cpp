#include "tests/reference/rmsnorm.h"

#include "tests/harness.h"

namespace {

using test::Tensor;

constexpr double kEps = 1e-5;

struct Case {
    int64_t rows, width;
    int32_t dtype, weight_dtype;
    bool residual;
    float offset;
    bool gaps;  // odd ones between rows, so that nothing but the first is aligned
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::string(test::name(c.dtype)) + " weight " + test::name(c.weight_dtype) +
                      " " + test::shape_name({c.rows, c.width}) +
                      (c.residual ? " with residual" : "") + (c.gaps ? " with gaps" : "");
    test::Random random(seed);
    const int64_t n = c.rows * c.width;
    const auto x = test::rounded(random.normals(n, 2), c.dtype);
    const auto residual = test::rounded(random.normals(n), c.dtype);
    const auto weight = test::rounded(random.normals(c.width), c.weight_dtype);
    const auto d_y = test::rounded(random.normals(n), c.dtype);
    const auto d_sum = test::rounded(random.normals(n), c.dtype);
    const auto d_weight = test::rounded(random.normals(c.width), c.weight_dtype);

    // What is normalised is the sum as it is stored.
    std::vector<double> h = x;
    if (c.residual) {
        for (size_t i = 0; i < h.size(); ++i) h[i] = test::rounded(x[i] + residual[i], c.dtype);
    }
    const double offset = c.offset;
    const auto exact =
        reference::rmsnorm_forward<double>(h, weight, offset, static_cast<float>(kEps));
    const auto plain = reference::rmsnorm_forward<float>(test::floats(h), test::floats(weight),
                                                         c.offset, static_cast<float>(kEps));
    const auto exact_gradient =
        reference::rmsnorm_backward<double>(d_y, h, weight, exact.rstd, offset);
    const auto plain_gradient = reference::rmsnorm_backward<float>(
        test::floats(d_y), test::floats(h), test::floats(weight), plain.rstd, c.offset);

    test::same_bits_for_threads([&](caravan_stream stream) {
        const std::vector<int64_t> shape = {c.rows, c.width};
        Tensor in = Tensor::of(c.dtype, shape, x, c.gaps ? 3 : 0);
        Tensor add = Tensor::of(c.dtype, shape, residual);
        Tensor scale = Tensor::of(c.weight_dtype, {c.width}, weight);
        Tensor y(c.dtype, shape, c.gaps ? 5 : 8), sum(c.dtype, shape), rstd(CARAVAN_F32, {c.rows});
        caravan_rmsnorm_forward_args forward = {};
        forward.size = sizeof forward;
        forward.x = in.view();
        forward.weight = scale.view();
        forward.y = y.view();
        forward.rstd = rstd.view();
        forward.eps = static_cast<float>(kEps);
        forward.weight_offset = c.offset;
        if (c.residual) {
            forward.residual = add.view();
            forward.sum = sum.view();
        }
        CHECK_OK(caravan_rmsnorm_forward(stream, &forward));
        CHECK_ACCURACY(y.values(), test::rounded(test::doubles(plain.y), c.dtype), exact.y);
        CHECK_ACCURACY(rstd.values(), test::doubles(plain.rstd), exact.rstd);
        if (c.residual) CHECK(sum.values() == h);

        Tensor dy = Tensor::of(c.dtype, shape, d_y), hidden = Tensor::of(c.dtype, shape, h);
        Tensor d_x(c.dtype, shape, c.gaps ? 2 : 0),
            dw = Tensor::of(c.weight_dtype, {c.width}, d_weight);
        caravan_rmsnorm_backward_args backward = {};
        backward.size = sizeof backward;
        backward.d_y = dy.view();
        backward.x = hidden.view();
        backward.weight = scale.view();
        backward.rstd = rstd.view();
        backward.d_x = d_x.view();
        backward.d_weight = dw.view();
        backward.weight_offset = c.offset;
        if (c.residual) {  // the other gradient of h, in place
            d_x.set(d_sum);
            backward.d_sum = d_x.view();
        }
        int64_t bytes = -1;
        CHECK_OK(caravan_rmsnorm_backward_workspace(test::kind(), &backward, &bytes));
        Tensor workspace(CARAVAN_U8, {bytes});
        backward.workspace = workspace.view();
        CHECK_OK(caravan_rmsnorm_backward(stream, &backward));

        // d_x is a difference (in rows of one element, of equals), d_weight a sum of both signs.
        double dx_term = 0, dw_term = 0;
        for (size_t i = 0; i < h.size(); ++i) {
            const double rstd_i = exact.rstd[i / weight.size()];
            const double g = d_y[i] * (offset + weight[i % weight.size()]);
            dx_term = std::fmax(dx_term, std::fabs(g * rstd_i));
            dw_term = std::fmax(dw_term, std::fabs(d_y[i] * h[i] * rstd_i));
        }
        auto exact_dx = exact_gradient.d_x;
        auto plain_dx = test::doubles(plain_gradient.d_x);
        for (size_t i = 0; c.residual && i < exact_dx.size(); ++i) {
            exact_dx[i] += d_sum[i];
            plain_dx[i] = static_cast<float>(plain_dx[i]) + static_cast<float>(d_sum[i]);
        }
        CHECK_ACCURACY_AT(dx_term, d_x.values(), test::rounded(plain_dx, c.dtype), exact_dx);
        auto exact_dw = exact_gradient.d_weight;
        auto plain_dw = test::doubles(plain_gradient.d_weight);
        for (size_t i = 0; i < exact_dw.size(); ++i) {
            exact_dw[i] += d_weight[i];
            plain_dw[i] = static_cast<float>(plain_dw[i]) + static_cast<float>(d_weight[i]);
        }
        CHECK_ACCURACY_AT(dw_term, dw.values(), test::rounded(plain_dw, c.weight_dtype), exact_dw);
        return y.bits() + rstd.bits() + d_x.bits() + dw.bits();
    });
    test::context().clear();
}

// The columns begin .. end - 1 of rows of `whole`.
std::vector<double> columns(const std::vector<double>& rows, int64_t whole, int64_t begin,
                            int64_t end) {
    std::vector<double> part;
    for (size_t r = 0; r * static_cast<size_t>(whole) < rows.size(); ++r) {
        const auto row = rows.begin() + static_cast<int64_t>(r) * whole;
        part.insert(part.end(), row + begin, row + end);
    }
    return part;
}

void set_columns(std::vector<double>& rows, int64_t whole, int64_t begin,
                 const std::vector<double>& part, int64_t width) {
    for (size_t i = 0; i < part.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        rows[static_cast<size_t>(at / width * whole + begin + at % width)] = part[i];
    }
}

struct PartsCase {
    int64_t rows;
    std::vector<int64_t> widths;  // of the parts
    int32_t dtype, weight_dtype;
    float offset;
    bool adds, gaps;
};

// Each part is normalised by itself, given the sums that row_dot has made of all of them: together
// they are the norm of the whole rows.
void parts_make_the_whole(const PartsCase& c, uint64_t seed) {
    int64_t whole = 0;
    for (const int64_t width : c.widths) whole += width;
    test::context() = std::string(test::name(c.dtype)) + " weight " + test::name(c.weight_dtype) +
                      " " + test::shape_name({c.rows, whole}) + " in " +
                      std::to_string(c.widths.size()) + " parts" + (c.adds ? " with d_sum" : "") +
                      (c.gaps ? " with gaps" : "");
    test::Random random(seed);
    const int64_t n = c.rows * whole;
    const auto h = test::rounded(random.normals(n, 2), c.dtype);
    const auto weight = test::rounded(random.normals(whole), c.weight_dtype);
    const auto d_y = test::rounded(random.normals(n), c.dtype);
    const auto d_sum = test::rounded(random.normals(n), c.dtype);
    const double offset = c.offset;
    const auto exact =
        reference::rmsnorm_forward<double>(h, weight, offset, static_cast<float>(kEps));
    const auto plain = reference::rmsnorm_forward<float>(test::floats(h), test::floats(weight),
                                                         c.offset, static_cast<float>(kEps));
    auto gradient = reference::rmsnorm_backward<double>(d_y, h, weight, exact.rstd, offset);
    auto plain_gradient = reference::rmsnorm_backward<float>(
        test::floats(d_y), test::floats(h), test::floats(weight), plain.rstd, c.offset);
    double dx_term = 0, dw_term = 0;  // as above
    for (size_t i = 0; i < h.size(); ++i) {
        const double rstd = exact.rstd[i / weight.size()];
        const double g = d_y[i] * (offset + weight[i % weight.size()]);
        dx_term = std::fmax(dx_term, std::fabs(g * rstd));
        dw_term = std::fmax(dw_term, std::fabs(d_y[i] * h[i] * rstd));
        if (!c.adds) continue;
        gradient.d_x[i] += d_sum[i];
        plain_gradient.d_x[i] += static_cast<float>(d_sum[i]);
    }

    test::same_bits_for_threads([&](caravan_stream stream) {
        struct Part {
            int64_t begin, width;
            Tensor x, scale, dy;
        };
        std::vector<Part> parts;
        parts.reserve(c.widths.size());
        for (const int64_t width : c.widths) {
            const int64_t begin = parts.empty() ? 0 : parts.back().begin + parts.back().width;
            const auto of = [&](const std::vector<double>& all) {
                return Tensor::of(c.dtype, {c.rows, width},
                                  columns(all, whole, begin, begin + width), c.gaps ? 3 : 0);
            };
            parts.push_back({begin, width, of(h),
                             Tensor::of(c.weight_dtype, {width},
                                        columns(weight, whole, begin, begin + width)),
                             of(d_y)});
        }
        Tensor sums = Tensor::of(CARAVAN_F32, {c.rows}, std::vector<double>(exact.rstd.size()));
        const auto add_dots = [&](Part& part, bool backward) {
            Tensor dots(CARAVAN_F32, {c.rows});
            caravan_row_dot_args args = {};
            args.size = sizeof args;
            args.a = backward ? part.dy.view() : part.x.view();
            args.b = part.x.view();
            if (backward) args.weight = part.scale.view();
            args.weight_offset = c.offset;
            args.out = dots.view();
            CHECK_OK(caravan_row_dot_forward(stream, &args));
            for (int64_t r = 0; r < c.rows; ++r) sums.set(r, sums.get(r) + dots.get(r));
        };

        for (Part& part : parts) add_dots(part, false);
        std::vector<double> y(h.size());
        Tensor rstd(CARAVAN_F32, {c.rows});
        for (Part& part : parts) {
            Tensor out(c.dtype, {c.rows, part.width}, c.gaps ? 5 : 8);
            caravan_rmsnorm_forward_args forward = {};
            forward.size = sizeof forward;
            forward.x = part.x.view();
            forward.weight = part.scale.view();
            forward.y = out.view();
            forward.rstd = rstd.view();
            forward.eps = static_cast<float>(kEps);
            forward.weight_offset = c.offset;
            forward.squares = sums.view();
            forward.whole = whole;
            rstd.poison();
            CHECK_OK(caravan_rmsnorm_forward(stream, &forward));
            CHECK_ACCURACY(rstd.values(), test::doubles(plain.rstd), exact.rstd);
            set_columns(y, whole, part.begin, out.values(), part.width);
        }
        CHECK_ACCURACY(y, test::rounded(test::doubles(plain.y), c.dtype), exact.y);

        sums.set(std::vector<double>(exact.rstd.size()));
        for (Part& part : parts) add_dots(part, true);
        std::vector<double> d_x(h.size()), d_weight(weight.size());
        for (Part& part : parts) {
            Tensor dx(c.dtype, {c.rows, part.width}, c.gaps ? 2 : 0);
            Tensor dw = Tensor::of(CARAVAN_F32, {part.width},
                                   std::vector<double>(static_cast<size_t>(part.width)));
            caravan_rmsnorm_backward_args backward = {};
            backward.size = sizeof backward;
            backward.d_y = part.dy.view();
            backward.x = part.x.view();
            backward.weight = part.scale.view();
            backward.rstd = rstd.view();
            backward.d_x = dx.view();
            backward.d_weight = dw.view();
            backward.weight_offset = c.offset;
            backward.dots = sums.view();
            backward.whole = whole;
            if (c.adds) {  // in place
                dx.set(columns(d_sum, whole, part.begin, part.begin + part.width));
                backward.d_sum = dx.view();
            }
            int64_t bytes = -1;
            CHECK_OK(caravan_rmsnorm_backward_workspace(test::kind(), &backward, &bytes));
            Tensor workspace(CARAVAN_U8, {bytes});
            backward.workspace = workspace.view();
            CHECK_OK(caravan_rmsnorm_backward(stream, &backward));
            set_columns(d_x, whole, part.begin, dx.values(), part.width);
            set_columns(d_weight, whole, part.begin, dw.values(), part.width);
        }
        CHECK_ACCURACY_AT(dx_term, d_x, test::rounded(test::doubles(plain_gradient.d_x), c.dtype),
                          gradient.d_x);
        CHECK_ACCURACY_AT(dw_term, d_weight, test::doubles(plain_gradient.d_weight),
                          gradient.d_weight);
        std::string bits;
        for (const auto* values : {&y, &d_x, &d_weight}) {
            bits.append(reinterpret_cast<const char*>(values->data()),
                        values->size() * sizeof(double));
        }
        return bits;
    });
    test::context().clear();
}

void reference_gradient() {
    test::Random random(5);
    const auto h = random.normals(3 * 7), weight = random.normals(7), d_y = random.normals(3 * 7);
    const auto forward = reference::rmsnorm_forward<double>(h, weight, 1, kEps);
    const auto gradient = reference::rmsnorm_backward<double>(d_y, h, weight, forward.rstd, 1);
    CHECK_GRADIENT(h, gradient.d_x, [&](const std::vector<double>& values) {
        return test::dot(reference::rmsnorm_forward<double>(values, weight, 1, kEps).y, d_y);
    });
    CHECK_GRADIENT(weight, gradient.d_weight, [&](const std::vector<double>& values) {
        return test::dot(reference::rmsnorm_forward<double>(h, values, 1, kEps).y, d_y);
    });
}

void refusals() {
    test::Stream stream;
    Tensor x(CARAVAN_F32, {4, 8}), y(CARAVAN_F32, {4, 8}), half(CARAVAN_BF16, {4, 8});
    Tensor narrow(CARAVAN_F32, {4, 7}), weight(CARAVAN_F32, {8}), rstd(CARAVAN_F32, {4});
    Tensor ints(CARAVAN_I32, {4, 8});
    caravan_rmsnorm_forward_args good = {};
    good.size = sizeof good;
    good.x = x.view();
    good.weight = weight.view();
    good.y = y.view();
    good.eps = 1e-5f;
    const auto refused = [&](const char* part, auto&& change) {
        caravan_rmsnorm_forward_args args = good;
        change(args);
        CHECK_REFUSED(caravan_rmsnorm_forward(stream, &args), "rmsnorm_forward", part);
    };
    refused("x: got null", [&](auto& args) { args.x.data = nullptr; });
    refused("x: got dtype i32", [&](auto& args) { args.x = ints.view(); });
    refused("x: needs 128 bytes, got 127", [&](auto& args) { args.x.bytes = 127; });
    refused("x: got stride 7 on axis 0", [&](auto& args) { args.x.stride[0] = 7; });
    refused("y: got shape [4, 7], needs [4, 8]", [&](auto& args) { args.y = narrow.view(); });
    refused("y: got dtype bf16, needs that of x, f32", [&](auto& args) { args.y = half.view(); });
    refused("weight: got shape [4]", [&](auto& args) { args.weight = rstd.view(); });
    refused("rstd: got shape [8]", [&](auto& args) { args.rstd = weight.view(); });
    refused("sum: got null", [&](auto& args) { args.residual = x.view(); });
    refused("sum: got a tensor", [&](auto& args) { args.sum = x.view(); });
    refused("squares: got a tensor", [&](auto& args) { args.squares = rstd.view(); });
    refused("squares: got null", [](auto& args) { args.whole = 16; });
    refused("squares: got shape [8], needs [4]", [&](auto& args) {
        args.whole = 16;
        args.squares = weight.view();
    });
    refused("whole: got 7, needs 0 or at least the width of x, 8",
            [](auto& args) { args.whole = 7; });
    refused("residual: got a tensor, needs none beside squares", [&](auto& args) {
        args.whole = 16;
        args.squares = rstd.view();
        args.residual = args.sum = x.view();
    });
    refused("eps: got -1", [&](auto& args) { args.eps = -1; });
    refused("eps: got nan", [&](auto& args) { args.eps = NAN; });
    CHECK_REFUSED(caravan_rmsnorm_forward(nullptr, &good), "rmsnorm_forward: stream");

    caravan_rmsnorm_backward_args back = {};
    back.size = sizeof back;
    back.d_y = back.x = back.d_x = x.view();
    back.weight = back.d_weight = weight.view();
    back.rstd = rstd.view();
    const auto back_refused = [&](const char* part, auto&& change) {
        caravan_rmsnorm_backward_args args = back;
        change(args);
        CHECK_REFUSED(caravan_rmsnorm_backward(stream, &args), "rmsnorm_backward", part);
    };
    back_refused("workspace: got null, needs 32 bytes", [](auto&) {});
    back_refused("workspace: needs 32 bytes, got 31", [&](auto& args) {
        args.workspace = x.view();
        args.workspace.bytes = 31;
    });
    back_refused("d_y: got shape [4, 7]", [&](auto& args) { args.d_y = narrow.view(); });
    back_refused("d_sum: got dtype bf16", [&](auto& args) { args.d_sum = half.view(); });
    back_refused("d_x: got shape [4, 7]", [&](auto& args) { args.d_x = narrow.view(); });
    back_refused("weight: got null", [&](auto& args) { args.weight.data = nullptr; });
    back_refused("d_weight: got shape [4]", [&](auto& args) { args.d_weight = rstd.view(); });
    back_refused("rstd: got shape [8]", [&](auto& args) { args.rstd = weight.view(); });
    back_refused("dots: got a tensor", [&](auto& args) { args.dots = rstd.view(); });
    back_refused("dots: got null", [](auto& args) { args.whole = 8; });
    back_refused("whole: got -1, needs 0 or", [](auto& args) { args.whole = -1; });

    int64_t bytes = 0;
    back.x.data = nullptr;  // a workspace is asked for before there is memory
    CHECK_OK(caravan_rmsnorm_backward_workspace(test::kind(), &back, &bytes));
    CHECK_EQUAL(bytes, 32);
    back.x.shape[0] = -1;
    CHECK_REFUSED(caravan_rmsnorm_backward_workspace(test::kind(), &back, &bytes), "x: got shape");
    back.x.shape[0] = INT64_MAX / 2;
    CHECK_REFUSED(caravan_rmsnorm_backward_workspace(test::kind(), &back, &bytes), "x: got shape");
}

struct Shape {
    int64_t rows, width;
};

// Rows of a few hundred elements, as the CPU takes them.
std::vector<Shape> short_rows() {
    std::vector<Shape> shapes;
    for (int64_t width : {1, 3, 8, 15, 16, 17, 64, 65, 288, 1031}) {
        for (int64_t rows : {0, 1, 3, 17, 300}) shapes.push_back({rows, width});
    }
    return shapes;
}

// Widths on either side of each border between a device's routes: rows within a warp, a block, a
// cluster (four rows one after the other, and another's), and too wide for one.
std::vector<Shape> rows_of_each_route() {
    return {{0, 8},     {1, 1},     {70, 3},    {9, 17},    {37, 64},  {5, 256},
            {3, 264},   {2, 512},   {3, 1032},  {2, 2056},  {2, 4100}, {1, 16384},
            {5, 16392}, {1, 32776}, {1, 65544}, {1, 262144}};
}

}  // namespace

int main() {
    reference_gradient();
    uint64_t seed = 1;
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (int32_t weight_dtype : {CARAVAN_F32, CARAVAN_BF16}) {
            const auto offset = [&] { return seed % 3 == 0 ? 1.0f : 0.0f; };
            for (const Shape& shape : test::emulated() ? std::vector<Shape>{} : short_rows()) {
                const bool residual = seed % 2 == 0, gaps = seed / 2 % 2 == 0;
                matches_reference(
                    {shape.rows, shape.width, dtype, weight_dtype, residual, offset(), gaps},
                    ++seed);
            }
            if (test::kind() == CARAVAN_CPU) continue;
            for (const Shape& shape : rows_of_each_route()) {
                for (const bool residual : {false, true}) {
                    for (const bool gaps : {false, true}) {
                        // Wide rows take long on the emulation: half of the cases, then a few.
                        if (shape.width >= 16384 && (weight_dtype != dtype || residual == gaps)) {
                            continue;
                        }
                        if (shape.width > 32776 && gaps) continue;
                        matches_reference({shape.rows, shape.width, dtype, weight_dtype, residual,
                                           offset(), gaps},
                                          ++seed);
                    }
                }
            }
        }
    }
    for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
        for (const std::vector<int64_t>& widths :
             {std::vector<int64_t>{8, 8}, {1, 5, 3}, {64, 64, 64}, {264}, {2056, 2056}}) {
            for (const int64_t rows : {0, 1, 37}) {
                ++seed;
                const int32_t weight_dtype = seed % 3 == 0 ? CARAVAN_BF16 : CARAVAN_F32;
                const float offset = seed % 5 == 0 ? 1.0f : 0.0f;
                parts_make_the_whole(
                    {rows, widths, dtype, weight_dtype, offset, seed % 2 == 0, seed / 2 % 2 == 0},
                    seed);
            }
        }
    }
    refusals();
    return test::finish();
}
