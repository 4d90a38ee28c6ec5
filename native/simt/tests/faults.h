// The groups of planted faults, a file each.
#pragma once

namespace plant {

void test_memory();
void test_shared();
void test_meetings();
void test_async();
void test_launches();

}  // namespace plant
