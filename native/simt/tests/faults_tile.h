// The groups of faults planted in uses of the tile wrappers.
#pragma once

namespace plant {

void test_tile_copies();
void test_tile_bulk();
void test_tile_products();

}  // namespace plant
