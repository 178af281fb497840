// Products of equal degrees up to 4 in single precision: a thread a column, all in registers.
#pragma once

#include <telamon/so3/columns.hpp>

namespace telamon::so3 {

inline bool has_straight(int l1, int l2, int l3) { return l1 == l2 && l2 == l3 && 1 <= l1 && l1 <= 4; }

int launch_straight(int l, kind which, const columns::product_plan<float>& plan, void* stream);

}  // namespace telamon::so3
