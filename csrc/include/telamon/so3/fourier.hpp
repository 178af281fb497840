// The product in two-dimensional Fourier space, as arXiv:2401.10216 has it, for one tile.
//
// With theta continued to a whole turn, f(theta, phi) = f(-theta, phi + pi), a function of degree L is a trigonometric
// polynomial of degree L in both angles,
//
//   P_lm(theta) = sum_k A_k cos(k theta) for even m, A_k sin(k theta) for odd m,   k <= l, k = l mod 2,
//
// and products are convolutions, done by FFT:
//
//   1. change of basis  F_k,m = sum_l A_lm,k x_lm, sparse: O(L^3)
//   2. inverse FFT in k and m of F + i G, the product, FFT in m and k: O(L^2 log L); rows of theta in [0, pi] only
//   3. back             z_lm = sum_k B_lm,k H_k,m with B_q = 1/4 sum_k A_k [J(k-q) +- J(k+q)], + for even m, and
//                       J(n) = 2/(1 - n^2) for even n, else 0, the integral of cos(n theta) sin(theta) over [0, pi]
//
// Its 2 (l1 + l2) + 1 rows are 8/3 of the grid's 3 L/2 + 1, and the sums over l in steps 1 and 3 are no shorter, so the
// grid is faster at every degree; this is for comparison.
#pragma once

#include <telamon/so3/fft.hpp>
#include <telamon/so3/product.hpp>

namespace telamon::so3::detail {

// Tables in the order of a tile's coefficients: for each (m, l) the coefficients k = l mod 2, l mod 2 + 2, ...
template <class T>
struct fourier_basis {
  int lmax = 0;
  int highest = 0;  // of the coefficients that z is made from; those of x and y end at l
  const T* table = nullptr;
};

template <class T>
struct fourier_tables {
  fourier_basis<T> x, y, z;
  fft_plan<T> theta, phi;
};

TELAMON_HD constexpr int theta_modes(int l1, int l2) noexcept { return 2 * (l1 + l2) + 1; }

TELAMON_HD constexpr std::ptrdiff_t fourier_scratch(int n_theta, int n_phi, int l3) noexcept {
  const std::ptrdiff_t line = n_theta > n_phi ? n_theta : n_phi;
  return 2 * (std::ptrdiff_t(n_theta) * n_phi + 2 * line) + std::ptrdiff_t(2) * n_theta * (l3 + 1);
}

// plane[m][k] += F_k,m, or i F_k,m; negative frequencies from the end.
template <bool TimesI, class T, class V>
TELAMON_HD TELAMON_INLINE void to_plane(const fourier_basis<T>& basis, const V* x, complex_lanes<V>* plane, int n_theta,
                                        int n_phi) noexcept {
  using C = complex_lanes<V>;
  const auto add = [](C& to, V re, V im) {
    if constexpr (TimesI)
      to.re -= im, to.im += re;
    else
      to.re += re, to.im += im;
  };
  const T* a = basis.table;
  for (int m = 0; m <= basis.lmax; ++m) {
    C* plus = plane + std::ptrdiff_t(m) * n_theta;
    C* minus = plane + std::ptrdiff_t(m == 0 ? 0 : n_phi - m) * n_theta;
    for (int l = m; l <= basis.lmax; ++l) {
      const V re = x[0], im = m == 0 ? V{} : V{} - x[1];
      x += m == 0 ? 1 : 2;
      for (int k = l % 2; k <= l; k += 2, ++a) {
        const V ar = *a * re, ai = *a * im;
        const int back = k == 0 ? 0 : n_theta - k;
        if (m % 2 == 0) {  // cos(k theta) = (e^ik + e^-ik)/2; tables hold the half
          add(plus[k], ar, ai);
          if (k > 0) add(plus[back], ar, ai);
          if (m > 0) add(minus[k], ar, V{} - ai);
          if (m > 0 && k > 0) add(minus[back], ar, V{} - ai);
        } else {  // sin(k theta) = -i (e^ik - e^-ik)/2
          add(plus[k], ai, V{} - ar);
          add(plus[back], V{} - ai, ar);
          add(minus[k], V{} - ai, V{} - ar);
          add(minus[back], ai, ar);
        }
      }
    }
  }
}

// z += the product of x and y.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void fourier_tile(const fourier_tables<T>& tables, const V* x, const V* y, V* z,
                                            V* scratch) noexcept {
  using C = complex_lanes<V>;
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax, largest = l1 > l2 ? l1 : l2;
  const int n_theta = tables.theta.n, n_phi = tables.phi.n;
  const std::ptrdiff_t line = n_theta > n_phi ? n_theta : n_phi;
  C* plane = reinterpret_cast<C*>(scratch);  // [m][theta]
  C *buffer = plane + std::ptrdiff_t(n_theta) * n_phi, *other = buffer + line, *result = other + line;
  for (std::ptrdiff_t i = 0; i < std::ptrdiff_t(n_theta) * n_phi; ++i) plane[i] = C{};
  to_plane<false>(tables.x, x, plane, n_theta, n_phi);
  to_plane<true>(tables.y, y, plane, n_theta, n_phi);
  for (int m = 0; m < n_phi; ++m) {
    if (m > largest && m < n_phi - largest) continue;
    C* column = plane + std::ptrdiff_t(m) * n_theta;
    const C* done = fft<true>(tables.theta, column, buffer);
    if (done != column)
      for (int i = 0; i < n_theta; ++i) column[i] = done[i];
  }
  const int half = n_theta / 2;
  const T scale = T(1) / (T(n_theta) * T(n_phi));
  for (int row = 0; row <= half; ++row) {
    for (int m = 0; m < n_phi; ++m) buffer[m] = plane[std::ptrdiff_t(m) * n_theta + row];
    C* values = fft<true>(tables.phi, buffer, other);
    for (int j = 0; j < n_phi; ++j) values[j] = {values[j].re * values[j].im * scale, V{}};
    const C* modes = fft<false>(tables.phi, values, values == buffer ? other : buffer);
    for (int m = 0; m <= l3; ++m) {
      C* column = result + std::ptrdiff_t(m) * n_theta;
      column[row] = modes[m];
      if (row > 0) column[n_theta - row] = m % 2 == 0 ? modes[m] : C{V{} - modes[m].re, V{} - modes[m].im};
    }
  }
  const T* b = tables.z.table;
  for (int m = 0; m <= l3; ++m) {
    const C* h = fft<false>(tables.theta, result + std::ptrdiff_t(m) * n_theta, buffer);
    for (int l = m; l <= l3; ++l) {
      V re{}, im{};
      for (int k = l % 2; k <= tables.z.highest; k += 2, ++b) re += *b * h[k].re, im += *b * h[k].im;
      // Tables hold 2 B, or B for k = 0; for odd m the coefficient of sin(k theta) is 2 i H_k.
      const V a = m % 2 == 0 ? re : V{} - im, c = m % 2 == 0 ? im : re;
      z[0] += a;
      if (m > 0) z[1] -= c;
      z += m == 0 ? 1 : 2;
    }
  }
}

}  // namespace telamon::so3::detail
