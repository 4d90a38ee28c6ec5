// Every check of the emulation, seen to catch what was planted for it and to leave clean kernels
// alone.
#include "simt/tests/faults.h"

#include <cstdio>

#include "simt/tests/plant.h"

int main() {
    plant::test_memory();
    plant::test_shared();
    plant::test_meetings();
    plant::test_async();
    plant::test_launches();
    if (plant::failures() > 0) std::fprintf(stderr, "%d checks failed\n", plant::failures());
    return plant::failures() == 0 ? 0 : 1;
}
