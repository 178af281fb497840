// Elementary functions and double-word arithmetic for kernels: branch-free, so that loops over them vectorise, and the
// same on host and device. T is float or double. Arch says whether a fused multiply-add is one instruction; where it
// is not, exact products fall back to Dekker's splitting and mad() rounds twice.
#pragma once

#include <telamon/core/config.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace telamon {

// What a loop is compiled for; TELAMON_MULTIVERSION names the right one `arch` inside its body.
template <bool Fma>
struct arch_traits {
  static constexpr bool fma = Fma;
};
#if defined(__FMA__) || defined(__CUDACC__) || defined(__aarch64__)
using native_arch = arch_traits<true>;
#else
using native_arch = arch_traits<false>;
#endif

namespace num {

// Expands to forced inlining: a helper left out of line would be compiled for the baseline.
#define TELAMON_KERNEL TELAMON_HD TELAMON_INLINE constexpr

template <class T>
struct format;
template <>
struct format<double> {
  using bits = std::uint64_t;
  static constexpr int mantissa = 52, bias = 1023, exponents = 2048;
  static constexpr double magic = 6755399441055744.0;          // 1.5 2^52: adding it rounds to an integer
  static constexpr double integer_magic = 4503599627370496.0;  // 2^52: its low bits hold an integer
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
  static constexpr double exp_min = -745.2, exp_max = 709.782712893384;
  static constexpr int exp_terms = 13;
  static constexpr double tiny = 1e-290, tiny_scale = 0x1p100;
  static constexpr int tiny_exponent = 100;
};
template <>
struct format<float> {
  using bits = std::uint32_t;
  static constexpr int mantissa = 23, bias = 127, exponents = 256;
  static constexpr float magic = 12582912.0f, integer_magic = 8388608.0f;
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  static constexpr float exp_min = -104.0f, exp_max = 88.72283f;
  static constexpr int exp_terms = 7;
  static constexpr float tiny = 1e-30f, tiny_scale = 0x1p40f;
  static constexpr int tiny_exponent = 40;
};

template <class T>
TELAMON_HD TELAMON_INLINE typename format<T>::bits to_bits(T x) noexcept {
  typename format<T>::bits b;
  std::memcpy(&b, &x, sizeof b);
  return b;
}
template <class T>
TELAMON_HD TELAMON_INLINE T from_bits(typename format<T>::bits b) noexcept {
  T x;
  std::memcpy(&x, &b, sizeof x);
  return x;
}

template <class T>
TELAMON_KERNEL T abs(T x) noexcept {
  return x < T(0) ? -x : x;
}
template <class T>
TELAMON_KERNEL T max(T a, T b) noexcept {
  return a > b ? a : b;
}
template <class T>
TELAMON_KERNEL T min(T a, T b) noexcept {
  return a < b ? a : b;
}
TELAMON_HD TELAMON_INLINE double sqrt(double x) noexcept { return __builtin_sqrt(x); }
TELAMON_HD TELAMON_INLINE float sqrt(float x) noexcept { return __builtin_sqrtf(x); }
TELAMON_HD TELAMON_INLINE double fma(double a, double b, double c) noexcept { return __builtin_fma(a, b, c); }
TELAMON_HD TELAMON_INLINE float fma(float a, float b, float c) noexcept { return __builtin_fmaf(a, b, c); }

// a b + c in the fastest way; the rounding of the product is unspecified.
template <class A, class T>
TELAMON_HD TELAMON_INLINE T mad(T a, T b, T c) noexcept {
  if constexpr (A::fma)
    return num::fma(a, b, c);
  else
    return a * b + c;
}

// An unevaluated sum hi + lo with |lo| <= ulp(hi)/2 or so.
template <class T>
struct dd {
  T hi, lo;
};

template <class T>
TELAMON_HD TELAMON_INLINE dd<T> two_sum(T a, T b) noexcept {
  T s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}
template <class T>
TELAMON_HD TELAMON_INLINE dd<T> quick_two_sum(T a, T b) noexcept {  // |a| >= |b|
  T s = a + b;
  return {s, b - (s - a)};
}
template <class A, class T>
TELAMON_HD TELAMON_INLINE dd<T> two_prod(T a, T b) noexcept {
  T p = a * b;
  if constexpr (A::fma) {
    return {p, num::fma(a, b, -p)};
  } else {
    constexpr T splitter = sizeof(T) == 8 ? T(134217729) : T(4097);
    T ca = splitter * a, cb = splitter * b;
    T ah = ca - (ca - a), bh = cb - (cb - b), al = a - ah, bl = b - bh;
    return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
  }
}

// A sum of a few terms that keeps the rounding errors.
template <class T>
struct accumulator {
  T hi, lo;
  TELAMON_HD TELAMON_INLINE void add(T t) noexcept {
    dd<T> s = two_sum(hi, t);
    hi = s.hi;
    lo += s.lo;
  }
};

// 2^k for an integral k (held in T) of a normal result.
template <class T>
TELAMON_HD TELAMON_INLINE T exp2i(T k) noexcept {
  using B = typename format<T>::bits;
  B b = to_bits(k + format<T>::magic);
  return from_bits<T>((b + B(format<T>::bias)) << format<T>::mantissa);
}

// c_n + z (c_{n-1} + z (... + z c_0)): the highest power's coefficient comes first.
template <class A, class T>
TELAMON_HD TELAMON_INLINE T horner(T, T p) noexcept {
  return p;
}
template <class A, class T, class... Rest>
TELAMON_HD TELAMON_INLINE T horner(T z, T p, double c, Rest... rest) noexcept {
  return horner<A>(z, mad<A>(p, z, T(c)), rest...);
}

// p(s^2) with 2 atanh(s) = 2 s + s^3 p(s^2): Chebyshev interpolants on |s| <= 0.2002, error 2^-54.5 (float: 2^-21), and
// on |s| <= 0.172, error 2^-51.4.
template <class A, class T>
TELAMON_HD TELAMON_INLINE T atanh_tail(T z) noexcept {
  if constexpr (sizeof(T) == 8)
    return horner<A>(z, 0.13609030262858499, 0.13209708242059462, 0.15388867805613718, 0.18181737626302938,
                     0.2222222304835159, 0.28571428567275936, 0.4000000000000794, 0.6666666666666666);
  else
    return horner<A>(z, T(0.2995919673416483), 0.3997891010792232, 0.6666671373620136);
}
template <class A, class T>
TELAMON_HD TELAMON_INLINE T atanh_short_tail(T z) noexcept {
  if constexpr (sizeof(T) == 8)
    return horner<A>(z, 0.1462395660821188, 0.1533111258796017, 0.1818290749767122, 0.22222210881932927,
                     0.28571428627528794, 0.3999999999989607, 0.666666666666667);
  else
    return atanh_tail<A>(z);
}

// log(x) = k log(2) + m for normal x >= sqrt(1/2), |m| <= 0.347 within an ulp. Cost: one division.
template <class T>
struct split_log {
  T k, m;
};
template <class A, class T>
TELAMON_HD TELAMON_INLINE split_log<T> log_split(T x) noexcept {
  using F = format<T>;
  using B = typename F::bits;
  constexpr B exponent_mask = (B(F::exponents) - 1) << F::mantissa;
  const B above = to_bits(x) - to_bits(T(0.70710678118654752440)), e = above & exponent_mask;
  const T k = from_bits<T>((above >> F::mantissa) | to_bits(F::integer_magic)) - F::integer_magic;
  const T y = from_bits<T>(to_bits(x) - e);  // in [sqrt(1/2), sqrt(2))
  const T s = (y - T(1)) / (y + T(1)), z = s * s;
  return {k, mad<A>(s * z, atanh_short_tail<A>(z), T(2) * s)};
}

// What log_ratio accepts: any positive normal numbers; with `tiny` a subnormal d as well; with `above` n >= d only, and
// n/d below 2^1000 (float: 2^120), which is cheaper.
enum class quotient { any, tiny, above };

// log((n.hi + n.lo)/d) as an unevaluated sum, |lo| < 0.01 |hi|; error 2^-59 (float: 2^-28) of the value, also near 1,
// where it is as accurate as n - d. Cost: one division.
template <class A, quotient Range = quotient::any, class T>
TELAMON_HD TELAMON_INLINE dd<T> log_ratio_parts(dd<T> n, T d) noexcept {
  using F = format<T>;
  using B = typename F::bits;
  // k = round(log2(n/d)), from the bit patterns read as integers, which are piecewise linear logarithms; d2 = 2^k d
  constexpr B half = B(1) << (F::mantissa - 1);
  T shift = T(0), k, d2;
  if constexpr (Range == quotient::above) {
    constexpr B exponent_mask = (B(F::exponents) - 1) << F::mantissa;
    const B above = to_bits(n.hi) - to_bits(d) + half;
    k = from_bits<T>((above >> F::mantissa) | to_bits(F::integer_magic)) - F::integer_magic;
    d2 = from_bits<T>(to_bits(d) + (above & exponent_mask));
  } else {
    if constexpr (Range == quotient::tiny) {
      const bool small = d < F::tiny;
      shift = small ? T(F::tiny_exponent) : T(0);
      d = small ? d * F::tiny_scale : d;
    }
    constexpr B big = B(F::exponents) << F::mantissa;
    const B kb = (to_bits(n.hi) - to_bits(d) + (big + half)) >> F::mantissa;  // k + exponents
    k = from_bits<T>(kb | to_bits(F::integer_magic)) - (F::integer_magic + T(F::exponents));
    // two factors, since k may reach twice the largest exponent
    const B ka = kb >> 1;
    constexpr int base = F::exponents / 2;
    d2 = d * from_bits<T>((ka + B(F::bias - base)) << F::mantissa) *
         from_bits<T>((kb - ka + B(F::bias - base)) << F::mantissa);
  }
  const dd<T> den = two_sum(n.hi, d2);
  const T top = n.hi - d2;  // exact
  const T inv = T(1) / den.hi, s = top * inv;
  T rest;
  if constexpr (A::fma) {
    rest = num::fma(-s, den.hi, top);
  } else {
    const dd<T> p = two_prod<A>(s, den.hi);
    rest = (top - p.hi) - p.lo;
  }
  const T s_lo = mad<A>(-s, den.lo + n.lo, rest + n.lo) * inv;
  const T z = s * s;
  const T tail = mad<A>(s * z, atanh_tail<A>(z), T(2) * s_lo);
  dd<T> m = quick_two_sum(k * F::ln2_hi, T(2) * s);  // k = 0 or |k log(2)| > |2 s|
  T lo = m.lo + mad<A>(k, F::ln2_lo, tail);
  if constexpr (Range == quotient::tiny) {
    const dd<T> m2 = two_sum(m.hi, shift * F::ln2_hi);
    lo += m2.lo + shift * F::ln2_lo;
    m.hi = m2.hi;
  }
  return {m.hi, lo};
}
template <class A, quotient Range = quotient::any, class T>
TELAMON_HD TELAMON_INLINE dd<T> log_ratio(dd<T> n, T d) noexcept {
  const dd<T> r = log_ratio_parts<A, Range>(n, d);
  return quick_two_sum(r.hi, r.lo);
}
template <class A, class T>
TELAMON_HD TELAMON_INLINE T log1p(T x) noexcept {  // x > -1 + tiny
  return log_ratio<A>(two_sum(T(1), x), T(1)).hi;
}

// exp(r) - 1 - r over r^2, |r| <= 0.35
template <class A, class T>
TELAMON_HD TELAMON_INLINE T exp_tail(T r) noexcept {
  constexpr double inv_factorial[] = {
      1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
      1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0};
  constexpr int n = format<T>::exp_terms;
  T p = T(inv_factorial[n]);
  TELAMON_UNROLL
  for (int k = n - 1; k >= 2; --k) p = mad<A>(p, r, T(inv_factorial[k]));
  return p;
}

// exp(x) - offset, offset 0 or 1; underflows gradually, saturates near the largest number. Error below 1 ulp.
template <class A, bool Minus1 = false, class T>
TELAMON_HD TELAMON_INLINE T exp(T x) noexcept {
  using F = format<T>;
  using B = typename F::bits;
  x = min(max(x, F::exp_min), F::exp_max);
  T t = x * T(1.4426950408889634074) + F::magic;
  T n = t - F::magic;
  T r_hi = mad<A>(-n, F::ln2_hi, x), r_lo = -n * F::ln2_lo;  // the first is exact
  dd<T> r = quick_two_sum(r_hi, r_lo);
  T q = mad<A>(r.hi * r.hi, exp_tail<A>(r.hi), r.lo);
  // 2^n in two factors, so that the smallest results are rounded, not flushed
  T th = n * T(0.5) + F::magic;
  T nh = th - F::magic;
  T a = from_bits<T>((to_bits(th) + B(F::bias)) << F::mantissa);
  T b = exp2i(n - nh);
  if constexpr (Minus1) {
    T scale = a * b;  // for x > -36 normal; below, the result is -1
    return mad<A>(scale, r.hi + q, scale - T(1));
  } else {
    return ((T(1) + (r.hi + q)) * a) * b;
  }
}
template <class A, class T>
TELAMON_HD TELAMON_INLINE T expm1(T x) noexcept {
  return exp<A, true>(x);
}

}  // namespace num
}  // namespace telamon
