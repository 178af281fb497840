// Real solid harmonics |r|^l Y_lm(r/|r|), "component" normalisation, for every l: polynomials in x, y, z, with y the
// polar axis, phi = atan2(x, z) and no Condon-Shortley phase.
//
//   |r|^l Y_lm = N_lm Q_lm(y, rho^2) {Im (z + ix)^|m|, 1, Re (z + ix)^m},   rho^2 = x^2 + z^2,
//
// where Q_lm is |r|^(l-m) P_l^m(y/|r|) / sin^m(theta), scaled to 1 at the pole. The recurrence in l (DLMF 14.10.3)
// reads
//
//   Q_l = (2l-1)/(l+m) y Q_{l-1} - (l-m-1)/(l+m) |r|^2 Q_{l-2},
//
// which is useless near the poles: there a rounding of |r|^2 moves Q_l by l^2/4 eps. Put |r|^2 = y^2 + rho^2; then the
// differences D_l = Q_l - y Q_{l-1} obey
//
//   D_l = (l-m-1)/(l+m) (y D_{l-1} - rho^2 Q_{l-2}),   Q_l = y Q_{l-1} + D_l,   Q_m = 1,   D_m = 0,
//
// at the same cost and with small errors everywhere (at the poles rho = 0 and Q = y^(l-m), without any cancellation).
// In float64 |error| <= (1.5 + l/12) eps max|Y_l| up to l = 64, at the largest degrees mostly that of the power. N_lm
// grows like 1.62^l: float32 overflows beyond l = 180, float64 beyond l = 1400. Cost: 8 operations for the components
// +-m.
#pragma once

#include <telamon/core/numeric.hpp>

namespace telamon::so3::detail {

// Where the factors of (l, m), m = 0..l, stand in a table of all degrees.
TELAMON_HD constexpr int triangular(int l, int m) noexcept { return l * (l + 1) / 2 + m; }

TELAMON_HD constexpr double harmonic_step(int l, int m) noexcept {
  return l > m ? double(l - m - 1) / double(l + m) : 0;
}

// N_lm^2 = (2 - [m = 0]) (2l + 1) (l + m)! / ((l - m)! (2^m m!)^2), a product of m factors.
template <class T>
TELAMON_HD constexpr T harmonic_norm_squared(int l, int m) noexcept {
  T product = T((2 * l + 1) * (m == 0 ? 1 : 2));
  for (int k = 1; k <= m; ++k) product *= T((l + k) * (l - k + 1)) / T(4 * k * k);
  return product;
}

// Q_l from Q_{l-1} and Q_{l-2}; d goes from D_{l-1} to D_l.
template <class A, class T>
TELAMON_HD TELAMON_INLINE T harmonic_advance(T step, T y, T rho2, T q1, T q2, T& d) noexcept {
  d = step * num::mad<A>(y, d, -(rho2 * q2));
  return num::mad<A>(y, q1, d);
}

// (z + ix) (c + is)
template <class A, class T>
TELAMON_HD TELAMON_INLINE void harmonic_turn(T z, T x, T& c, T& s) noexcept {
  const T turned = num::mad<A>(z, c, -(x * s));
  s = num::mad<A>(z, s, x * c);
  c = turned;
}

// For Y(r/|r|) = |u|^-l |u|^l Y(u/|u|): u = r 2^k with |u|^2 in [1/2, 2), exactly, and 1/|u| in double-word, since its
// error enters l times. At r = 0 u = 0 and 1/|u| stands for 1.
template <class T>
struct scaled_vector {
  T x, y, z;
  num::dd<T> inverse;
};
template <class A, class T>
TELAMON_HD TELAMON_INLINE scaled_vector<T> harmonic_scale(T x, T y, T z) noexcept {
  using F = num::format<T>;
  using B = typename F::bits;
  const T largest = num::max(num::max(num::abs(x), num::abs(y)), num::abs(z));
  const T lift = largest < F::tiny ? F::tiny_scale : T(1);              // subnormal numbers have no exponent to read
  const T huge = num::from_bits<T>(B(2 * F::bias - 1) << F::mantissa);  // twice that has no normal inverse
  const B exponent = num::to_bits(num::min(largest * lift, huge)) & (B(F::exponents - 1) << F::mantissa);
  const T scale = num::from_bits<T>((B(2 * F::bias) << F::mantissa) - exponent);
  x = x * lift * scale, y = y * lift * scale, z = z * lift * scale;
  const T rough = x * x + y * y + z * z;  // [1, 12)
  const T by2 = rough >= T(2) ? T(0.5) : T(1), by4 = rough >= T(8) ? T(0.5) * by2 : by2;
  x *= by4, y *= by4, z *= by4;

  const num::dd<T> xx = num::two_prod<A>(x, x), yy = num::two_prod<A>(y, y), zz = num::two_prod<A>(z, z);
  const num::dd<T> xy = num::two_sum(xx.hi, yy.hi), sum = num::two_sum(xy.hi, zz.hi);
  const T square = sum.hi == T(0) ? T(1) : sum.hi, square_lo = sum.lo + xy.lo + (xx.lo + yy.lo + zz.lo);
  const T g = T(1) / num::sqrt(square);
  const num::dd<T> gg = num::two_prod<A>(g, g), p = num::two_prod<A>(gg.hi, square);
  const T residual = ((T(1) - p.hi) - p.lo) - (gg.lo * square + gg.hi * square_lo);  // 1 - g^2 |u|^2
  return {x, y, z, {g, T(0.5) * g * residual}};
}

// power / |u|, in double-word; its sum hi + lo is what counts.
template <class A, class T>
TELAMON_HD TELAMON_INLINE num::dd<T> harmonic_shrink(num::dd<T> power, num::dd<T> inverse) noexcept {
  const num::dd<T> p = num::two_prod<A>(power.hi, inverse.hi);
  return {p.hi, p.lo + (power.hi * inverse.lo + power.lo * inverse.hi)};
}

}  // namespace telamon::so3::detail
