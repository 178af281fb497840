// Fast Fourier transforms of short length, for lanes V of independent transforms side by side.
//
// Stockham's self-sorting algorithm with radices 4, 2, 3 and 5: about 5 n log2 n additions and multiplications, no
// reordering. Relative error about eps log2 n. Twiddle factors are made in double.
#pragma once

#include <telamon/core/config.hpp>

#include <cmath>
#include <cstddef>
#include <vector>

namespace telamon::so3::detail {

// Lengths are products of these.
constexpr int next_fft_length(int n) noexcept {
  for (;; ++n) {
    int rest = n;
    for (int radix : {2, 3, 5})
      while (rest % radix == 0) rest /= radix;
    if (rest == 1) return n;
  }
}

template <class T>
struct fft_plan {
  int n = 1, passes = 0;
  int radix[24] = {};
  const T* twiddles = nullptr;  // for each pass exp(-2 pi i p j/n'), [p][j - 1] and re, im
};

// The plan of length n; `storage` keeps its twiddle factors.
template <class T>
fft_plan<T> make_fft_plan(int n, std::vector<T>& storage) {
  constexpr double turn = 6.28318530717958647693;
  fft_plan<T> plan;
  plan.n = n;
  int left = n;
  while (left > 1) {
    const int radix = left % 4 == 0 ? 4 : left % 2 == 0 ? 2 : left % 3 == 0 ? 3 : 5;
    plan.radix[plan.passes++] = radix;
    for (int p = 0; p < left / radix; ++p) {
      for (int j = 1; j < radix; ++j) {
        const double angle = turn * (p * j) / left;
        storage.push_back(T(std::cos(angle)));
        storage.push_back(T(-std::sin(angle)));
      }
    }
    left /= radix;
  }
  plan.twiddles = storage.data();
  return plan;
}

template <class V>
struct complex_lanes {
  V re, im;
};
template <class V>
TELAMON_HD TELAMON_INLINE complex_lanes<V> operator+(complex_lanes<V> a, complex_lanes<V> b) noexcept {
  return {a.re + b.re, a.im + b.im};
}
template <class V>
TELAMON_HD TELAMON_INLINE complex_lanes<V> operator-(complex_lanes<V> a, complex_lanes<V> b) noexcept {
  return {a.re - b.re, a.im - b.im};
}
// -i a forwards, +i a backwards
template <bool Inverse, class V>
TELAMON_HD TELAMON_INLINE complex_lanes<V> quarter(complex_lanes<V> a) noexcept {
  return Inverse ? complex_lanes<V>{-a.im, a.re} : complex_lanes<V>{a.im, -a.re};
}

// The discrete Fourier transform of Radix numbers, in place.
template <int Radix, bool Inverse, class T, class V>
TELAMON_HD TELAMON_INLINE void butterfly(complex_lanes<V> (&a)[Radix]) noexcept {
  using C = complex_lanes<V>;
  if constexpr (Radix == 2) {
    const C sum = a[0] + a[1];
    a[1] = a[0] - a[1], a[0] = sum;
  } else if constexpr (Radix == 3) {
    constexpr T sine = T(0.86602540378443864676);
    const C sum = a[1] + a[2], turned = quarter<Inverse>(C{sine * (a[1].re - a[2].re), sine * (a[1].im - a[2].im)});
    const C middle{a[0].re - T(0.5) * sum.re, a[0].im - T(0.5) * sum.im};
    a[0] = a[0] + sum, a[1] = middle + turned, a[2] = middle - turned;
  } else if constexpr (Radix == 4) {
    const C s = a[0] + a[2], d = a[0] - a[2], t = a[1] + a[3], u = quarter<Inverse>(a[1] - a[3]);
    a[0] = s + t, a[1] = d + u, a[2] = s - t, a[3] = d - u;
  } else {
    constexpr T c1 = T(0.30901699437494742410), c2 = T(-0.80901699437494742410);
    constexpr T s1 = T(0.95105651629515357212), s2 = T(0.58778525229247312917);
    const C p = a[1] + a[4], q = a[2] + a[3], m = a[1] - a[4], n = a[2] - a[3];
    const C first{a[0].re + c1 * p.re + c2 * q.re, a[0].im + c1 * p.im + c2 * q.im};
    const C second{a[0].re + c2 * p.re + c1 * q.re, a[0].im + c2 * p.im + c1 * q.im};
    const C u = quarter<Inverse>(C{s1 * m.re + s2 * n.re, s1 * m.im + s2 * n.im});
    const C v = quarter<Inverse>(C{s2 * m.re - s1 * n.re, s2 * m.im - s1 * n.im});
    a[0] = a[0] + p + q, a[1] = first + u, a[4] = first - u, a[2] = second + v, a[3] = second - v;
  }
}

// One pass: the remaining length is left, `done` transforms are side by side.
template <int Radix, bool Inverse, class T, class V>
TELAMON_HD TELAMON_INLINE void fft_pass(int left, int done, const T* twiddles, const complex_lanes<V>* from,
                                        complex_lanes<V>* to) noexcept {
  const int m = left / Radix;
  for (int p = 0; p < m; ++p) {
    for (int q = 0; q < done; ++q) {
      complex_lanes<V> a[Radix];
      TELAMON_UNROLL
      for (int j = 0; j < Radix; ++j) a[j] = from[q + done * (p + m * j)];
      butterfly<Radix, Inverse, T>(a);
      complex_lanes<V>* out = to + q + done * Radix * p;
      out[0] = a[0];
      TELAMON_UNROLL
      for (int j = 1; j < Radix; ++j) {
        const T re = twiddles[2 * (j - 1)], im = Inverse ? -twiddles[2 * (j - 1) + 1] : twiddles[2 * (j - 1) + 1];
        out[done * j] = {re * a[j].re - im * a[j].im, re * a[j].im + im * a[j].re};
      }
    }
    twiddles += 2 * (Radix - 1);
  }
}

// sum_j x_j exp(-+ 2 pi i j k/n), not divided by n. The result is in x or in other, and its address returned.
template <bool Inverse, class T, class V>
TELAMON_HD TELAMON_INLINE complex_lanes<V>* fft(const fft_plan<T>& plan, complex_lanes<V>* x,
                                                complex_lanes<V>* other) noexcept {
  int left = plan.n, done = 1;
  const T* twiddles = plan.twiddles;
  for (int pass = 0; pass < plan.passes; ++pass) {
    const int radix = plan.radix[pass];
    if (radix == 4)
      fft_pass<4, Inverse>(left, done, twiddles, x, other);
    else if (radix == 2)
      fft_pass<2, Inverse>(left, done, twiddles, x, other);
    else if (radix == 3)
      fft_pass<3, Inverse>(left, done, twiddles, x, other);
    else
      fft_pass<5, Inverse>(left, done, twiddles, x, other);
    twiddles += std::ptrdiff_t(2) * (radix - 1) * (left / radix);
    left /= radix, done *= radix;
    complex_lanes<V>* swap = x;
    x = other, other = swap;
  }
  return x;
}

}  // namespace telamon::so3::detail
