// Streams, copies, events, and how the CPU computes with subnormal numbers; capture is refused on the
// CPU.
#include <algorithm>
#include <vector>

#include "tests/harness.h"

namespace {

void copies_and_sets(caravan_stream stream) {
    test::Random random(11);
    for (int64_t bytes : {0, 1, 1000, 1 << 20, (1 << 20) + 1, 5000001}) {
        std::vector<char> from(static_cast<size_t>(bytes + 2), 'x'), to(from.size(), 'y');
        for (char& cell : from) cell = static_cast<char>(random.next());
        CHECK_OK(caravan_memcpy(stream, to.data() + 1, from.data() + 1, bytes));
        CHECK(std::memcmp(to.data() + 1, from.data() + 1, static_cast<size_t>(bytes)) == 0);
        CHECK(to.front() == 'y' && to.back() == 'y');

        CHECK_OK(caravan_memset(stream, to.data() + 1, 200, bytes));
        bool set = true;
        for (int64_t i = 1; i <= bytes; ++i) {
            set = set && static_cast<unsigned char>(to[static_cast<size_t>(i)]) == 200;
        }
        CHECK(set);
        CHECK(to.front() == 'y' && to.back() == 'y');
    }
    std::vector<int> shifted(1000000);
    for (size_t i = 0; i < shifted.size(); ++i) shifted[i] = static_cast<int>(i);
    CHECK_OK(caravan_memcpy(stream, shifted.data() + 1, shifted.data(), 999999 * 4));
    CHECK(shifted[1] == 0 && shifted[500000] == 499999 && shifted[999999] == 999998);
}

void events(caravan_stream stream) {
    caravan_event from = nullptr, to = nullptr;
    CHECK_OK(caravan_event_create(CARAVAN_CPU, 0, &from));
    CHECK_OK(caravan_event_create(CARAVAN_CPU, 0, &to));
    float milliseconds = -1;
    CHECK_OK(caravan_event_record(from, stream));
    CHECK_REFUSED(caravan_event_elapsed(from, to, &milliseconds), "event_elapsed: to", "never");
    CHECK_REFUSED(caravan_event_elapsed(to, from, &milliseconds), "event_elapsed: from", "never");
    CHECK_OK(caravan_stream_wait(stream, from));
    CHECK_OK(caravan_event_record(to, stream));
    CHECK_OK(caravan_event_elapsed(from, to, &milliseconds));
    CHECK(milliseconds >= 0);
    CHECK_REFUSED(caravan_event_elapsed(from, to, nullptr), "event_elapsed: milliseconds");
    CHECK_REFUSED(caravan_event_record(nullptr, stream), "event_record: event");
    CHECK_REFUSED(caravan_event_record(from, nullptr), "event_record: stream");
    CHECK_REFUSED(caravan_stream_wait(stream, nullptr), "stream_wait: event");
    CHECK_OK(caravan_event_destroy(from));
    CHECK_OK(caravan_event_destroy(to));
    CHECK_REFUSED(caravan_event_create(CARAVAN_CPU, 2, &from), "event_create: index");
    CHECK(from == nullptr);
    CHECK_OK(caravan_event_destroy(nullptr));
}

// On every thread of the stream they count as zero, and the caller's own arithmetic keeps them.
void flushes_subnormals(caravan_stream stream) {
    constexpr int64_t kCount = 1 << 20;  // tasks for every thread
    constexpr float kSubnormal = 1e-40f, kLeast = 1.17549435e-38f;
    const std::vector<int64_t> shape = {kCount};
    test::Tensor a(CARAVAN_F32, shape), b(CARAVAN_F32, shape), out(CARAVAN_F32, shape);
    const auto sums = [&](float left, float right) {
        std::fill_n(static_cast<float*>(a.view().data), kCount, left);
        std::fill_n(static_cast<float*>(b.view().data), kCount, right);
        caravan_add_args args = {};
        args.size = sizeof args;
        args.a = a.view();
        args.b = b.view();
        args.out = out.view();
        CHECK_OK(caravan_add_forward(stream, &args));
        return out.values();
    };
    const std::vector<double> zeros(kCount);
    CHECK(sums(kSubnormal, 0) == zeros);          // an operand
    CHECK(sums(1.5f * kLeast, -kLeast) == zeros);  // a result
    CHECK(sums(2 * kLeast, -kLeast) == std::vector<double>(kCount, kLeast));
    volatile float here = kSubnormal;
    here = here * 0.5f;
    CHECK(here != 0);
}

void refusals(caravan_stream stream) {
    caravan_stream none = nullptr;
    CHECK_REFUSED(caravan_stream_create(CARAVAN_CPU, 0, 0, &none), "stream_create: threads",
                  "got 0");
    CHECK_REFUSED(caravan_stream_create(CARAVAN_CPU, 0, 1025, &none), "stream_create: threads");
    CHECK_REFUSED(caravan_stream_create(CARAVAN_CPU, 1, 1, &none), "stream_create: index");
    CHECK_REFUSED(caravan_stream_create(5, 0, 1, &none), "stream_create: kind");
    CHECK_REFUSED(caravan_stream_create(CARAVAN_CPU, 0, 1, nullptr), "stream_create: stream");
    CHECK(none == nullptr);
    CHECK_OK(caravan_stream_synchronize(stream));
    CHECK_REFUSED(caravan_stream_synchronize(nullptr), "stream_synchronize: stream");

    char cell = 0;
    CHECK_REFUSED(caravan_memcpy(stream, &cell, &cell, -1), "memcpy: bytes");
    CHECK_REFUSED(caravan_memcpy(stream, nullptr, &cell, 1), "memcpy: to");
    CHECK_REFUSED(caravan_memcpy(stream, &cell, nullptr, 1), "memcpy: from");
    CHECK_REFUSED(caravan_memcpy(nullptr, &cell, &cell, 1), "memcpy: stream");
    CHECK_REFUSED(caravan_memset(stream, &cell, 256, 1), "memset: byte", "got 256");
    CHECK_REFUSED(caravan_memset(stream, nullptr, 0, 1), "memset: data");
    CHECK_OK(caravan_memset(stream, nullptr, 0, 0));

    caravan_graph graph = nullptr;
    CHECK_UNSUPPORTED(caravan_capture_begin(stream), "capture_begin: stream", "cpu");
    CHECK_UNSUPPORTED(caravan_capture_end(stream, &graph), "capture_end: stream");
    CHECK_UNSUPPORTED(caravan_graph_launch(graph, stream), "graph_launch: stream");
    CHECK_OK(caravan_graph_destroy(nullptr));
}

}  // namespace

int main() {
    for (int threads : {1, 2, 5}) {
        test::Stream stream(threads);
        copies_and_sets(stream);
        events(stream);
        flushes_subnormals(stream);
        refusals(stream);
    }
    return test::finish();
}
