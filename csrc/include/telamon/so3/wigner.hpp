// The matrices D^l with Y_l(R r) = D^l(R) Y_l(r), from the entries of R alone, without Euler angles and so without
// singular rotations: D^1 is R in the order x, y, z (m = -1, 0, 1), and D^l is the part of degree l of R x D^(l-1),
//
//   D^l(m, n) = sum over t, s of c_t(m) c_s(n) R(i_t, j_s) D^(l-1)(a_t, b_s),
//
// where c(m) are the at most five real Clebsch-Gordan coefficients that couple (1, i) and (l-1, a) to (l, m). They are
// those of Ivanic and Ruedenberg, J. Phys. Chem. 100 (1996) 6342, with the corrections of ibid. A 102 (1998) 9099,
// which couple the rows only and divide by c_s(n) of one s: fewer operations, but errors that grow by a factor up to
// 2^(1/2) a degree (1e5 eps at l = 64). Coupled on both sides, as an orthogonal projection, they add up:
// |error| <= (2 + l) eps.
//
// The recursion is homogeneous of degree l in R, so improper matrices have the parity (-1)^l. Cost: 20 multiply-adds an
// entry, where a row's 3 (2l - 1) sums over t are shared by its columns.
#pragma once

#include <telamon/core/numeric.hpp>

namespace telamon::so3::detail {

// The terms c_t(m): coefficient, i in -1..1 and a in -(l-1)..l-1; for what does not exist c = 0 and a = 0.
template <class T>
struct wigner_terms {
  static constexpr int count = 5;
  T c[count];
  int i[count], a[count];
};

template <class T>
TELAMON_HD TELAMON_INLINE wigner_terms<T> make_wigner_terms(int l, int m) noexcept {
  const int p = m < 0 ? -m : m;
  const T den = T(l * (2 * l - 1)), sum = T((l + p - 1) * (l + p)), difference = T((l - p - 1) * (l - p));
  const T u = num::sqrt(T((l + p) * (l - p)) / den);
  const T v = num::sqrt(sum / (T(4) * den));
  const T v2 = num::sqrt(sum / (T(2) * den));  // where both signs of m meet
  const T w = p < l - 1 ? -num::sqrt(difference / (T(4) * den)) : T(0);
  wigner_terms<T> terms{};
  const auto set = [&](int t, T c, int i, int a) {
    const bool exists = c != 0 && a < l && a > -l;
    terms.c[t] = exists ? c : T(0), terms.i[t] = i, terms.a[t] = exists ? a : 0;
  };
  set(0, u, 0, m);
  if (m == 0) {
    set(1, -v2, 1, 1), set(2, -v2, -1, -1);
  } else if (m > 0) {
    set(1, m == 1 ? v2 : v, 1, m - 1), set(2, m == 1 ? T(0) : -v, -1, 1 - m);
    set(3, w, 1, m + 1), set(4, w, -1, -m - 1);
  } else {
    set(1, m == -1 ? T(0) : v, 1, m + 1), set(2, m == -1 ? v2 : v, -1, -m - 1);
    set(3, w, 1, m - 1), set(4, -w, -1, 1 - m);
  }
  return terms;
}

// A step R (3 - R^T R)/2 towards the nearest orthogonal matrix, which squares the distance: rounding of R in single
// precision would otherwise enter D^l l times.
template <class A, class T>
TELAMON_HD TELAMON_INLINE void orthogonalize(T (&r)[9]) noexcept {
  T half[9], result[9];
  TELAMON_UNROLL
  for (int k = 0; k < 9; ++k) {
    const int i = k / 3, j = k % 3;
    const T dot = num::mad<A>(r[i], r[j], num::mad<A>(r[3 + i], r[3 + j], r[6 + i] * r[6 + j]));
    half[k] = T(0.5) * ((i == j ? T(3) : T(0)) - dot);
  }
  TELAMON_UNROLL
  for (int k = 0; k < 9; ++k) {
    const int i = k / 3 * 3, j = k % 3;
    result[k] = num::mad<A>(r[i], half[j], num::mad<A>(r[i + 1], half[3 + j], r[i + 2] * half[6 + j]));
  }
  TELAMON_UNROLL
  for (int k = 0; k < 9; ++k) r[k] = result[k];
}

}  // namespace telamon::so3::detail
