#include "tests/reference/adafactor.h"

#include <memory>

#include "tests/harness.h"
#include "tests/master.h"

namespace {

using test::Tensor;

struct Case {
    std::vector<int64_t> shape;
    bool factored, scale_parameter;
    float beta1, clip_threshold;
    int32_t grad_dtype;
    int64_t skipped = 0;  // elements that ops do not see, so that no tensor is aligned
    int32_t parts = 1, cut = 0;  // of how many equal parts of a whole it is one, along which axis
};

int64_t elements(const std::vector<int64_t>& shape) {
    int64_t n = 1;
    for (int64_t extent : shape) n *= extent;
    return n;
}

// Everything that a step works on, in the chosen storage.
struct Buffers {
    const Case& c;
    Tensor param, remainder, grad, row, col, v, m, workspace;
    test::Box<caravan_step_state> state;

    Buffers(const Case& c_, int32_t dtype, const std::vector<double>& masters)
        : c(c_),
          param(dtype, {c_.skipped + elements(c_.shape)}),
          remainder(CARAVAN_U16, {c_.skipped + elements(c_.shape)}),
          grad(c_.grad_dtype, {c_.skipped + elements(c_.shape)}),
          row(CARAVAN_F32, {c_.skipped + c_.shape[0]}),
          col(CARAVAN_F32, {c_.skipped + c_.shape.back()}),
          v(CARAVAN_F32, {c_.skipped + elements(c_.shape)}),
          m(CARAVAN_F32, {c_.skipped + elements(c_.shape)}),
          workspace(CARAVAN_U8, {workspace_bytes()}) {
        for (Tensor* moments : {&row, &col, &v, &m}) {
            moments->set(std::vector<double>(static_cast<size_t>(moments->count()), 0.0));
        }
        test::set_masters(param, remainder, behind_skipped(masters));
        state->lr = 0.05f;
        state->clip_factor = 0.5f;
        state->finite = 1;
    }

    caravan_adafactor_args args() {
        caravan_adafactor_args args = numbers();
        args.param = seen(param, c.shape);
        if (param.dtype() == CARAVAN_BF16) args.remainder = seen(remainder, c.shape);
        args.grad = seen(grad, c.shape);
        if (c.factored && c.shape.size() == 2) {
            args.row = seen(row, {c.shape[0]});
            args.col = seen(col, {c.shape[1]});
        } else {
            args.v = seen(v, c.shape);
        }
        if (c.beta1 > 0) args.m = seen(m, c.shape);
        args.state = state.view();
        args.workspace = workspace.view();
        return args;
    }

    void step(caravan_stream stream) {
        ++state->step;
        workspace.poison();
        const caravan_adafactor_args known = args();
        CHECK_OK(caravan_adafactor_step(stream, &known));
    }

    // What a part has of the totals.
    Tensor sums{CARAVAN_F32, {2 + across()}}, squares{CARAVAN_F32, {1}};

    int64_t across() const {
        return c.factored && c.shape.size() == 2 ? c.shape[static_cast<size_t>(1 - c.cut)] : 0;
    }

    caravan_adafactor_args part_args(int32_t phase) {
        caravan_adafactor_args known = args();
        known.phase = phase;
        known.parts = c.parts;
        known.cut = c.cut;
        known.sums = sums.view();
        known.squares = squares.view();
        return known;
    }

    // A phase of a part's step, which finds nothing of the one before in the workspace.
    void run(caravan_stream stream, int32_t phase) {
        state->step += phase == CARAVAN_ADAFACTOR_SUM ? 1 : 0;
        workspace.poison();
        const caravan_adafactor_args known = part_args(phase);
        CHECK_OK(caravan_adafactor_step(stream, &known));
    }

    // What ops see of a tensor.
    std::vector<double> values(const Tensor& tensor) const {
        const std::vector<double> all = tensor.values();
        return {all.begin() + c.skipped, all.end()};
    }

    std::vector<double> behind_skipped(std::vector<double> values) const {
        values.insert(values.begin(), static_cast<size_t>(c.skipped), 1.0);
        return values;
    }

    std::string bits() const {
        return param.bits() + remainder.bits() + row.bits() + col.bits() + v.bits() + m.bits();
    }

  private:
    caravan_tensor seen(Tensor& tensor, const std::vector<int64_t>& shape) const {
        caravan_tensor view = tensor.view();
        const int64_t bytes = c.skipped * caravan::dtype_bytes(view.dtype);
        view.data = static_cast<char*>(view.data) + bytes;
        view.bytes -= bytes;
        view.rank = static_cast<int32_t>(shape.size());
        int64_t stride = 1;
        for (int i = view.rank - 1; i >= 0; --i) {
            view.shape[i] = shape[static_cast<size_t>(i)];
            view.stride[i] = stride;
            stride *= view.shape[i];
        }
        return view;
    }

    caravan_adafactor_args numbers() const {
        caravan_adafactor_args args = {};
        args.size = sizeof args;
        args.beta1 = c.beta1;
        args.decay_rate = 0.8f;
        args.eps1 = 1e-30f;
        args.eps2 = 1e-3f;
        args.clip_threshold = c.clip_threshold;
        args.weight_decay = 0.1f;
        args.scale_parameter = c.scale_parameter ? 1 : 0;
        args.factored = c.factored ? 1 : 0;
        return args;
    }

    int64_t workspace_bytes() {
        caravan_adafactor_args args = numbers();
        args.param = seen(param, c.shape);
        args.param.data = nullptr;  // asked for before there is memory
        int64_t bytes = -1;
        CHECK_OK(caravan_adafactor_workspace(test::kind(), &args, &bytes));
        return bytes;
    }
};

template <typename Real>
reference::Adafactor<Real> reference_of(const Case& c) {
    const bool factored = c.factored && c.shape.size() == 2;
    return {0.05f,
            c.beta1,
            0.8f,
            1e-30f,
            1e-3f,
            c.clip_threshold,
            0.1f,
            0.5f,
            c.scale_parameter,
            factored,
            static_cast<size_t>(c.shape[0]),
            static_cast<size_t>(c.shape.back()),
            {},
            {},
            {},
            {}};
}

// Some steps from random values, in double and in float.
struct Expected {
    std::vector<double> start;
    std::vector<std::vector<double>> grads;  // of each step
    reference::Adafactor<double> in_double;
    reference::Adafactor<float> in_float;
    std::vector<double> exact;
    std::vector<float> plain;

    Expected(const Case& c, uint64_t seed, int steps)
        : in_double(reference_of<double>(c)), in_float(reference_of<float>(c)) {
        test::Random random(seed);
        const int64_t n = elements(c.shape);
        start = test::rounded(random.normals(n), CARAVAN_F32);
        for (int t = 0; t < steps; ++t)
            grads.push_back(test::rounded(random.normals(n, 0.1), c.grad_dtype));
        exact = start;
        plain = test::floats(start);
        for (int t = 1; t <= steps; ++t) {
            const auto& grad = grads[static_cast<size_t>(t - 1)];
            in_double.step(t, exact, grad);
            in_float.step(t, plain, test::floats(grad));
        }
    }
};

void matches_reference(const Case& c, uint64_t seed) {
    test::context() = std::to_string(c.shape[0]) + " x " +
                      (c.shape.size() == 2 ? std::to_string(c.shape[1]) : "-") +
                      (c.factored ? " factored" : "") + (c.scale_parameter ? " scaled" : "") +
                      " beta1 " + std::to_string(c.beta1) + " grad " + test::name(c.grad_dtype);
    const Expected expected(c, seed, 4);
    test::same_bits_for_threads([&](caravan_stream stream) {
        Buffers whole(c, CARAVAN_F32, expected.start), split(c, CARAVAN_BF16, expected.start);
        for (Buffers* buffers : {&whole, &split}) {
            for (const auto& grad : expected.grads) {
                buffers->grad.set(buffers->behind_skipped(grad));
                buffers->step(stream);
            }
        }
        CHECK_ACCURACY(whole.values(whole.param), test::doubles(expected.plain), expected.exact);
        if (expected.in_double.factored) {
            CHECK_ACCURACY(whole.values(whole.row), test::doubles(expected.in_float.row),
                           expected.in_double.row);
            CHECK_ACCURACY(whole.values(whole.col), test::doubles(expected.in_float.col),
                           expected.in_double.col);
        } else {
            CHECK_ACCURACY(whole.values(whole.v), test::doubles(expected.in_float.v),
                           expected.in_double.v);
        }
        if (c.beta1 > 0)
            CHECK_ACCURACY(whole.values(whole.m), test::doubles(expected.in_float.m),
                           expected.in_double.m);
        // A split master is the whole one bit for bit.
        CHECK(test::masters(split.param, split.remainder) == whole.param.values());
        return whole.bits() + split.bits();
    });
    test::context().clear();
}

// The elements of part `which` of a whole, of a part's shape.
std::vector<double> part_of(const Case& part, int which, const std::vector<double>& whole) {
    const size_t inner = part.shape.size() == 2 ? static_cast<size_t>(part.shape[1]) : 1;
    const size_t run = part.cut == 1 ? inner : static_cast<size_t>(elements(part.shape));
    const auto parts = static_cast<size_t>(part.parts);
    std::vector<double> own;
    for (size_t i = 0; i < whole.size(); ++i) {
        if (i / run % parts == static_cast<size_t>(which)) own.push_back(whole[i]);
    }
    return own;
}

// What the parts have becomes the total, on every one of them.
void add_up(std::vector<std::unique_ptr<Buffers>>& parts, Tensor Buffers::*which) {
    std::vector<double> total((parts[0].get()->*which).values().size());
    for (auto& part : parts) {
        const std::vector<double> term = (part.get()->*which).values();
        for (size_t i = 0; i < total.size(); ++i) total[i] += term[i];
    }
    for (auto& part : parts) (part.get()->*which).set(total);
}

// Parts of a parameter, phase by phase, against the whole one.
void parts_match_reference(const Case& part, uint64_t seed) {
    test::context() = std::to_string(part.parts) + " parts along " + std::to_string(part.cut) +
                      (part.factored ? " factored" : "") + ", each of " +
                      std::to_string(elements(part.shape));
    Case whole = part;
    whole.shape[static_cast<size_t>(part.cut)] *= part.parts;
    const Expected expected(whole, seed, 3);
    test::same_bits_for_threads([&](caravan_stream stream) {
        std::string bits;
        std::vector<std::vector<double>> masters;
        for (int32_t dtype : {CARAVAN_F32, CARAVAN_BF16}) {
            std::vector<std::unique_ptr<Buffers>> all;
            for (int i = 0; i < part.parts; ++i) {
                all.push_back(
                    std::make_unique<Buffers>(part, dtype, part_of(part, i, expected.start)));
            }
            for (const auto& grad : expected.grads) {
                const auto run = [&](int32_t phase) {
                    for (auto& its : all) its->run(stream, phase);
                };
                for (size_t i = 0; i < all.size(); ++i) {
                    all[i]->grad.set(
                        all[i]->behind_skipped(part_of(part, static_cast<int>(i), grad)));
                }
                run(CARAVAN_ADAFACTOR_SUM);
                add_up(all, &Buffers::sums);
                run(CARAVAN_ADAFACTOR_MEASURE);
                add_up(all, &Buffers::squares);
                run(CARAVAN_ADAFACTOR_UPDATE);
            }
            for (size_t i = 0; i < all.size(); ++i) {
                Buffers& its = *all[i];
                const auto of = [&](const std::vector<double>& values) {
                    return part_of(part, static_cast<int>(i), values);
                };
                bits += its.bits();
                if (dtype == CARAVAN_BF16) {  // a split master is the whole one bit for bit
                    CHECK(test::masters(its.param, its.remainder) == masters[i]);
                    continue;
                }
                masters.push_back(its.param.values());
                CHECK_ACCURACY(its.values(its.param), of(test::doubles(expected.plain)),
                               of(expected.exact));
                if (expected.in_double.factored) {
                    const auto rows = static_cast<size_t>(part.shape[0]);
                    const auto columns = static_cast<size_t>(part.shape[1]);
                    const auto slice = [&](const auto& moments, size_t count, bool cut) {
                        const size_t from = cut ? i * count : 0;
                        std::vector<double> own;
                        for (size_t k = from; k < from + count; ++k)
                            own.push_back(static_cast<double>(moments[k]));
                        return own;
                    };
                    const bool by_rows = part.cut == 0;
                    CHECK_ACCURACY(its.values(its.row), slice(expected.in_float.row, rows, by_rows),
                                   slice(expected.in_double.row, rows, by_rows));
                    CHECK_ACCURACY(its.values(its.col),
                                   slice(expected.in_float.col, columns, !by_rows),
                                   slice(expected.in_double.col, columns, !by_rows));
                }
            }
        }
        return bits;
    });
    test::context().clear();
}

void does_nothing_when_not_finite() {
    test::Stream stream;
    const Case c = {{3, 4}, true, true, 0.9f, 1, CARAVAN_F32};
    Buffers buffers(c, CARAVAN_F32, std::vector<double>(12, 1.0));
    buffers.state->finite = 0;
    const std::string before = buffers.bits();
    buffers.step(stream);
    CHECK(buffers.bits() == before);
}

void refusals() {
    test::Stream stream;
    const Case c = {{9, 4}, true, true, 0.9f, 1, CARAVAN_F32};
    Buffers buffers(c, CARAVAN_BF16, std::vector<double>(36, 1.0));
    Tensor wrong(CARAVAN_F32, {8, 4}), deep(CARAVAN_F32, {9, 2, 2}), short_row(CARAVAN_F32, {3});
    buffers.state->step = 1;
    const std::string before = buffers.bits();
    const auto refused = [&](const char* part, auto&& change) {
        caravan_adafactor_args args = buffers.args();
        change(args);
        CHECK_REFUSED(caravan_adafactor_step(stream, &args), "adafactor_step", part);
    };
    refused("param: got rank 3, needs 1 or 2", [&](auto& args) { args.param = deep.view(); });
    refused("param: got null", [&](auto& args) { args.param.data = nullptr; });
    refused("remainder: got null", [&](auto& args) { args.remainder.data = nullptr; });
    refused("grad: got shape [8, 4], needs [9, 4]", [&](auto& args) { args.grad = wrong.view(); });
    refused("row: got shape [3], needs [9]", [&](auto& args) { args.row = short_row.view(); });
    refused("col: got shape [3], needs [4]", [&](auto& args) { args.col = short_row.view(); });
    refused("v: got null", [&](auto& args) { args.factored = 0; });
    refused("m: got null", [&](auto& args) { args.m.data = nullptr; });
    refused("state: got null", [&](auto& args) { args.state.data = nullptr; });
    refused("workspace: needs ", [&](auto& args) { args.workspace.bytes -= 1; });
    refused("beta1: got 1", [&](auto& args) { args.beta1 = 1; });
    refused("decay_rate: got 0", [&](auto& args) { args.decay_rate = 0; });
    refused("eps1: got -1", [&](auto& args) { args.eps1 = -1; });
    refused("eps2: got inf", [&](auto& args) { args.eps2 = INFINITY; });
    refused("clip_threshold: got 0", [&](auto& args) { args.clip_threshold = 0; });
    refused("weight_decay: got nan", [&](auto& args) { args.weight_decay = NAN; });
    const auto part_refused = [&](const char* part, auto&& change) {
        refused(part, [&](auto& args) {
            args = buffers.part_args(CARAVAN_ADAFACTOR_SUM);
            change(args);
        });
    };
    refused("phase: got 4, needs 0 to 3", [&](auto& args) { args.phase = 4; });
    part_refused("parts: got 0, needs at least 1", [&](auto& args) { args.parts = 0; });
    part_refused("cut: got 2, needs an axis of param", [&](auto& args) { args.cut = 2; });
    part_refused("sums: got shape [6], needs [11]", [&](auto& args) { args.cut = 1; });
    part_refused("squares: got null", [&](auto& args) { args.squares.data = nullptr; });
    const caravan_adafactor_args good = buffers.args();
    CHECK_REFUSED(caravan_adafactor_step(nullptr, &good), "adafactor_step: stream");
    if (test::kind() == CARAVAN_CPU) {  // what lies in memory is not looked at elsewhere
        buffers.state->step = 0;
        refused("state.step: got 0", [](auto&) {});
    }
    CHECK(buffers.bits() == before);  // nothing was written
}

}  // namespace

int main() {
    uint64_t seed = 1;
    std::vector<std::vector<int64_t>> shapes = {{1},     {3},      {17},     {5000},
                                                {1, 1},  {1, 17},  {3, 1},   {17, 9},
                                                {8, 16}, {65, 64}, {9, 300}, {1060, 5}};
    if (!test::emulated()) {
        shapes.insert(shapes.end(), {{40000}, {300, 129}, {2000, 520}});
    }
    for (const auto& shape : shapes) {
        for (bool factored : {true, false}) {
            for (float beta1 : {0.0f, 0.9f}) {
                ++seed;
                matches_reference(
                    {shape, factored, seed % 3 == 0, beta1, seed % 5 == 0 ? 0.3f : 1.0f,
                     seed % 4 == 0 ? CARAVAN_BF16 : CARAVAN_F32},
                    seed);
            }
        }
    }
    for (bool factored : {true, false}) {
        matches_reference({{9, 16}, factored, true, 0.9f, 1, CARAVAN_BF16, 1}, ++seed);
    }
    matches_reference({{0}, true, true, 0, 1, CARAVAN_F32}, ++seed);
    struct Parts {
        std::vector<int64_t> shape;
        int32_t parts, cut;
    };
    for (const Parts& parts : std::vector<Parts>{{{17}, 3, 0},
                                                 {{1, 9}, 3, 0},
                                                 {{17, 9}, 2, 0},
                                                 {{17, 9}, 2, 1},
                                                 {{9, 1}, 4, 1},
                                                 {{65, 64}, 2, 0},
                                                 {{9, 300}, 2, 1}}) {
        for (bool factored : {true, false}) {
            ++seed;
            const float beta1 = seed % 3 == 0 ? 0.9f : 0.0f, clip = seed % 5 == 0 ? 1.0f : 0.3f;
            parts_match_reference({parts.shape, factored, seed % 2 == 0, beta1, clip,
                                   seed % 4 == 0 ? CARAVAN_BF16 : CARAVAN_F32, 0, parts.parts,
                                   parts.cut},
                                  seed);
        }
    }
    does_nothing_when_not_finite();
    refusals();
    return test::finish();
}
