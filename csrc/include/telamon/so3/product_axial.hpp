// The even product with a function that does not depend on phi: each Fourier coefficient on a parallel is multiplied by
// one number. No convolution is left, 9/4 L^3 multiply-adds in all. Messages along an edge are such products once the
// edge points to the pole.
#pragma once

#include <telamon/so3/product.hpp>

namespace telamon::so3::detail {

TELAMON_HD constexpr std::ptrdiff_t axial_scratch(int l1, int l3) noexcept {
  return block_pairs * std::ptrdiff_t(2 * circle_size(l1) + 4 * (l3 + 1));
}

// z += the product of x and of y, the coefficients of m = 0 for l = 0..l2.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void axial_product_tile(const product_tables<T>& tables, const V* x, const V* y, V* z,
                                                  V* scratch) noexcept {
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax, pairs = tables.z.pairs;
  const int shared = l1 < l3 ? l1 : l3, half = 2 * (l3 + 1);
  V *circles = scratch, *sums = circles + 2 * block_pairs * circle_size(l1);
  for (int first = 0; first < pairs; first += block_pairs) {
    const int count = pairs - first < block_pairs ? pairs - first : block_pairs;
    synthesize<false, block_pairs>(tables.x, first, count, x, circles);
    for (int i = 0; i < count; ++i) {
      const bool equator = tables.z.equator && first + i == pairs - 1;
      const T* p = tables.y.synthesis + first + i;  // P_l0, the first of the table
      V even = p[0] * y[0], odd{};
      for (int l = 1; l <= l2; ++l) (l % 2 ? odd : even) += p[l * pairs] * y[l];
      const V g_north = even + odd, g_south = equator ? V{} : even - odd;
      const circle<V> north = circle_at(circles, l1, 2 * i), south = circle_at(circles, l1, 2 * i + 1);
      V *sum = sums + std::ptrdiff_t(2 * i) * half, *difference = sum + half;
      for (int m = 0; m <= shared; ++m) {
        const V a = north.a[m] * g_north, b = north.b[m] * g_north;
        const V c = south.a[m] * g_south, d = south.b[m] * g_south;
        sum[2 * m] = a + c, sum[2 * m + 1] = b + d;
        difference[2 * m] = a - c, difference[2 * m + 1] = b - d;
      }
      for (int k = 2 * (shared + 1); k < half; ++k) sum[k] = difference[k] = V{};
    }
    analyse(tables.z, first, count, sums, z);
  }
}

}  // namespace telamon::so3::detail
