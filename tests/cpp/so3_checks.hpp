// What the tests of so3 share.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

// Equal within the design's bounds, relative to the largest number of b.
template <class T>
void check_close(const std::vector<T>& a, const std::vector<T>& b) {
  REQUIRE(a.size() == b.size());
  double scale = 0, worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    scale = std::max(scale, std::fabs(double(b[i])));
    const double error = std::fabs(double(a[i]) - double(b[i]));
    worst = error <= worst ? worst : error;  // NaN stays
  }
  CHECK(worst <= (sizeof(T) == 4 ? 1e-6 : 1e-12) * scale);
}
