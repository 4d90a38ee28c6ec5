// The groups of planted faults, a file each.
#pragma once

namespace plant {

void test_memory();
void test_shared();

}  // namespace plant
