// Philox4x32-10 against the known answers that its authors publish (Random123, kat_vectors), and
// the numbers that elements draw.
#include "core/random.h"

#include "tests/harness.h"

namespace {

void known_answer(uint32_t counter, uint64_t key, const uint32_t expected[4]) {
    uint32_t words[4] = {counter, counter, counter, counter};
    caravan::philox(words, key);
    for (int i = 0; i < 4; ++i) CHECK_EQUAL(words[i], expected[i]);
}

}  // namespace

int main() {
    known_answer(0, 0, (const uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    known_answer(0xffffffff, UINT64_MAX,
                 (const uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});

    // Different elements, steps and seeds draw different numbers; all bits are about half ones.
    CHECK(caravan::element_random(1, 2, 3) == caravan::element_random(1, 2, 3));
    CHECK(caravan::element_random(1, 2, 3) != caravan::element_random(2, 2, 3));
    CHECK(caravan::element_random(1, 2, 3) != caravan::element_random(1, 3, 3));
    CHECK(caravan::element_random(1, 2, 0) != caravan::element_random(1, 2, uint64_t{1} << 40));
    int64_t ones[32] = {};
    for (uint64_t i = 0; i < 20000; ++i) {
        const uint32_t bits = caravan::element_random(17, 5, i);
        for (int bit = 0; bit < 32; ++bit) ones[bit] += bits >> bit & 1;
    }
    for (int64_t count : ones) CHECK_NEAR(static_cast<double>(count), 10000, 6 * 70.7);
    return test::finish();
}
