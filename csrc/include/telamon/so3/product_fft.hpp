// The even product of high degrees: as product.hpp, but on each parallel through values at N >= l1 + l2 + l3 + 1 points
// and back, by FFT. About 7.5 N log2 N operations a parallel for the 6 L^2 multiply-adds of the convolution, N = 3L
// + 1.
#pragma once

#include <telamon/so3/fft.hpp>
#include <telamon/so3/product.hpp>

namespace telamon::so3::detail {

TELAMON_HD constexpr std::ptrdiff_t fft_product_scratch(int l1, int l2, int l3, int points) noexcept {
  return block_pairs * (2 * (circle_size(l1) + circle_size(l2)) + 4 * (l3 + 1)) + 6 * std::ptrdiff_t(points);
}

// f + i g at the points of a circle, from their coefficients, in `values` or in `other`; the address is returned.
template <class T, class V>
TELAMON_HD TELAMON_INLINE const complex_lanes<V>* values_on_circle(const fft_plan<T>& plan, circle<V> f, int l1,
                                                                   circle<V> g, int l2, complex_lanes<V>* values,
                                                                   complex_lanes<V>* other) noexcept {
  const int n = plan.n, degree = l1 > l2 ? l1 : l2;
  for (int k = degree + 1; k < n - degree; ++k) values[k] = {V{}, V{}};
  values[0] = {f.a[0], g.a[0]};
  for (int k = 1; k <= degree; ++k) {
    const V zero{}, fa = k <= l1 ? f.a[k] : zero, fb = k <= l1 ? f.b[k] : zero;
    const V ga = k <= l2 ? g.a[k] : zero, gb = k <= l2 ? g.b[k] : zero;
    values[k] = {fa + gb, ga - fb}, values[n - k] = {fa - gb, ga + fb};
  }
  return fft<true>(plan, values, other);
}

// z += the product of x and y.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void fft_product_tile(const product_tables<T>& tables, const fft_plan<T>& plan, const V* x,
                                                const V* y, V* z, V* scratch) noexcept {
  using C = complex_lanes<V>;
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax, pairs = tables.z.pairs, n = plan.n;
  const std::ptrdiff_t in_h = 4 * (l3 + 1);
  V *f = scratch, *g = f + 2 * block_pairs * circle_size(l1), *sums = g + 2 * block_pairs * circle_size(l2);
  C *product = reinterpret_cast<C*>(sums + block_pairs * in_h), *values = product + n, *other = values + n;
  const T scale = T(0.5) / T(n);
  const parallels<T>* const tables_of[2] = {&tables.x, &tables.y};
  const V* const coefficients[2] = {x, y};
  V* const circles[2] = {f, g};
  for (int first = 0; first < pairs; first += block_pairs) {
    const int count = pairs - first < block_pairs ? pairs - first : block_pairs;
    for (int k = 0; k < 2; ++k)
      synthesize<false, block_pairs>(*tables_of[k], first, count, coefficients[k], circles[k]);
    for (int i = 0; i < count; ++i) {
      // The north as the real part, the south as the imaginary one, of a single transform back. What the equator has
      // for a south is the equator again, since its terms of odd l + m are zero.
      const bool equator = tables.z.equator && first + i == pairs - 1;
      for (int side = 0; side < 2; ++side) {
        const int index = 2 * i + side;
        const C* at = values_on_circle(plan, circle_at(f, l1, index), l1, circle_at(g, l2, index), l2, values, other);
        for (int j = 0; j < n; ++j) (side == 0 ? product[j].re : product[j].im) = at[j].re * at[j].im;
      }
      const C* modes = fft<false>(plan, product, values);
      V *sum = sums + i * in_h, *difference = sum + in_h / 2;
      for (int m = 0; m <= l3; ++m) {
        const C p = modes[m], q = modes[m == 0 ? 0 : n - m];
        const V north_a = scale * (p.re + q.re), north_b = scale * (q.im - p.im);
        const V south_a = scale * (p.im + q.im), south_b = scale * (p.re - q.re);
        sum[2 * m] = equator ? north_a : north_a + south_a, sum[2 * m + 1] = equator ? north_b : north_b + south_b;
        difference[2 * m] = north_a - south_a, difference[2 * m + 1] = north_b - south_b;
      }
    }
    analyse(tables.z, first, count, sums, z);
  }
}

}  // namespace telamon::so3::detail
