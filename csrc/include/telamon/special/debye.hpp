// The regime w = sqrt(v^2 + x^2) >= 25 (float: 10): Debye's uniform expansions, DLMF 10.41.3-4, after taking their
// logarithm. With q = v^2/w^2, u = 1/w and lead = w - v asinh(v/x),
//   log I_v(x) =  lead - log(2 pi w)/2 + S(q, u),    log K_v(x) = -lead + log(pi/(2 w))/2 + S(q, -u),
// where S = sum_k D_k(q) u^k. The lead is carried in double words, since it vanishes near x = 0.6627 v while its
// parts do not. |error| <= 2 eps max(|L|, w). Cost: 3 divisions, a square root, about 100 operations and the series.
#pragma once

#include <telamon/special/polynomial.hpp>
#include <telamon/special/tables.hpp>

namespace telamon::special::detail {

template <class T, int N>
struct values {
  T at[N];
};

enum class kind { i, k };

inline constexpr double half_log_2pi = 0.91893853320467274178, half_log_pi_2 = 0.22579135264472743;
inline constexpr double half_log_4_pi_hi = 0.12078223763524522, half_log_4_pi_lo = 4.1797047492946264e-18;
inline constexpr double pi = 3.14159265358979323846;

// What every formula needs of (v, x). In the extreme form v, x and w are scaled by a power of two, and u, p = v/w,
// c = x/w, q = p^2 are of the unscaled values in both forms.
template <class T>
struct point {
  T v, x, scale;
  num::dd<T> w, asinh;       // unevaluated sums
  num::split_log<T> log_w2;  // log(w^2)
  T u, p, c, q, w_over_x;
};

template <class A, class T>
TELAMON_HD TELAMON_INLINE point<T> locate_scaled(T v, T x) noexcept {
  using num::two_prod;
  point<T> at;
  at.v = v, at.x = x, at.scale = T(1);
  const num::dd<T> vv = two_prod<A>(v, v), xx = two_prod<A>(x, x);
  const num::dd<T> h = num::quick_two_sum(num::max(vv.hi, xx.hi), num::min(vv.hi, xx.hi));
  const T w = num::sqrt(h.hi);
  at.u = T(1) / w;
  T rest;
  if constexpr (A::fma) {
    rest = num::fma(-w, w, h.hi);
  } else {
    const num::dd<T> ww = two_prod<A>(w, w);
    rest = (h.hi - ww.hi) - ww.lo;
  }
  at.w = {w, (rest + (h.lo + (vv.lo + xx.lo))) * (T(0.5) * at.u)};
  at.log_w2 = num::log_split<A>(h.hi);
  return at;
}

template <class A, num::quotient Range = num::quotient::above, class T>
TELAMON_HD TELAMON_INLINE point<T> locate(T v, T x) noexcept {
  point<T> at = locate_scaled<A>(v, x);
  const num::dd<T> n = num::quick_two_sum(at.w.hi, v);
  at.asinh = num::log_ratio_parts<A, Range>(num::dd<T>{n.hi, n.lo + at.w.lo}, x);
  at.p = v * at.u, at.c = x * at.u, at.q = at.p * at.p;
  at.w_over_x = at.w.hi / x;
  return at;
}

// The largest power of two not above |x| (x normal or 0), and its exponent.
template <class T>
TELAMON_HD TELAMON_INLINE T power_below(T x, T& exponent) noexcept {
  using F = num::format<T>;
  auto e = num::to_bits(x) >> F::mantissa;
  exponent = T(int(e) - F::bias);
  return num::from_bits<T>(e << F::mantissa);
}

// Arguments whose squares or quotients leave the range of T.
template <class A, class T>
TELAMON_HD TELAMON_INLINE point<T> locate_extreme(T v, T x) noexcept {
  using F = num::format<T>;
  T k, e, shift = T(0), xn = x;
  const T scale = power_below(num::max(v, x), k);
  const T down = T(1) / scale;  // scale >= 1; from 2^1023 this is subnormal, and exact
  if (x < F::tiny) xn = x * F::tiny_scale, shift = T(F::tiny_exponent);
  T mantissa = xn / power_below(xn, e);
  e -= shift;
  point<T> at = locate_scaled<A>(v * down, x * down);
  const num::dd<T> n = num::quick_two_sum(at.w.hi, at.v);
  const num::dd<T> a = num::log_ratio_parts<A>(num::dd<T>{n.hi, n.lo + at.w.lo}, mantissa);
  const num::dd<T> b = num::two_sum((k - e) * F::ln2_hi, a.hi);
  at.asinh = {b.hi, b.lo + (a.lo + (k - e) * F::ln2_lo)};
  at.log_w2.k += T(2) * k;
  at.p = at.v * at.u, at.c = at.x * at.u, at.q = at.p * at.p;
  at.w_over_x = at.w.hi / x * scale;
  if (!(at.w_over_x < std::numeric_limits<T>::max())) at.w_over_x = at.w.hi * scale / x;
  at.scale = scale;
  at.u *= down;
  return at;
}

// +-lead (- or + x when scaled by e^-x or e^x) - log(w)/2 + constant + rest. The rounding error of the lead is carried
// and the k log(2) of log(w) is exact, so that nothing is lost where lead and log(w)/2 cancel.
template <class A, kind Kind, bool Scaled, class T>
TELAMON_HD TELAMON_INLINE T assemble(const point<T>& at, T rest) noexcept {
  using F = num::format<T>;
  constexpr T sign = Kind == kind::i ? T(1) : T(-1);
  const num::dd<T> top = Scaled ? num::two_sum(at.w.hi, -at.x) : num::dd<T>{at.w.hi, T(0)};
  const T w = top.hi;
  T lead, error;
  if constexpr (A::fma) {
    lead = num::fma(-at.v, at.asinh.hi, w);
    const num::dd<T> product = num::two_sum(w, -lead);
    error = num::fma(-at.v, at.asinh.hi, product.hi) + product.lo;
  } else {
    const num::dd<T> va = num::two_prod<A>(at.v, at.asinh.hi), sum = num::two_sum(w, -va.hi);
    lead = sum.hi, error = sum.lo - va.lo;
  }
  error += num::mad<A>(-at.v, at.asinh.lo, at.w.lo + top.lo);
  const T log_k = at.log_w2.k * (T(-0.25) * F::ln2_hi);
  const T log_m = num::mad<A>(at.log_w2.k, F::ln2_lo, at.log_w2.m);
  const T small = num::mad<A>(T(-0.25), log_m, rest) + T(Kind == kind::i ? -half_log_2pi : half_log_pi_2);
  return (sign * lead * at.scale + log_k) + num::mad<A>(sign * at.scale, error, small);
}

// dx of +-lead (-+ x): +-w/x, or +-v^2/(x (w + x)) without cancellation.
template <kind Kind, bool Scaled, class T>
TELAMON_HD TELAMON_INLINE T lead_dx(const point<T>& at) noexcept {
  constexpr T sign = Kind == kind::i ? T(1) : T(-1);
  if constexpr (Scaled)
    return sign * (at.v / at.x) * at.p / (T(1) + at.c);
  else
    return sign * at.w_over_x;
}

// {dv, dx} and {dvv, dvx, dxx} of the lead, -log(w)/2 and a rest known by its derivatives in v and x
template <kind Kind, bool Scaled, class T>
TELAMON_HD TELAMON_INLINE void first_derivatives(const point<T>& at, T rest_v, T rest_x, T& dv, T& dx) noexcept {
  constexpr T sign = Kind == kind::i ? T(1) : T(-1);
  dv = -sign * (at.asinh.hi + at.asinh.lo) + (rest_v - T(0.5) * at.p * at.u);
  dx = lead_dx<Kind, Scaled>(at) + (rest_x - T(0.5) * at.c * at.u);
}
template <kind Kind, class T>
TELAMON_HD TELAMON_INLINE void second_derivatives(const point<T>& at, T x, T vv, T vx, T xx, T& dvv, T& dvx,
                                                  T& dxx) noexcept {
  constexpr T sign = Kind == kind::i ? T(1) : T(-1);
  T u2 = at.u * at.u, c2 = at.c * at.c;
  dvv = -sign * at.u + (vv + T(0.5) * (at.q - c2) * u2);
  dvx = sign * (at.p / x) + (vx + at.p * at.c * u2);
  dxx = -sign * (at.v / at.x) * (at.p / x) + (xx + T(0.5) * (c2 - at.q) * u2);
}

// d2/dx2 log I by Bessel's equation, from d = w/x - d/dx. It loses a factor x, the second derivative of a fitted
// polynomial a factor 1/x.
template <class T>
TELAMON_HD TELAMON_INLINE T i_curvature(const point<T>& at, T x, T rest_x) noexcept {
  const T d = T(0.5) * at.c * at.u - rest_x, value = d * (T(2) * at.w_over_x - d) - (at.w_over_x - d) / x;
  return at.w_over_x <= std::numeric_limits<T>::max() ? value : -std::numeric_limits<T>::infinity();
}

// The chain rule for S(q, u): v and x derivatives from those in q and u; see debye_rest.
template <class T>
struct rest {
  T f, v, x, vv, vx, xx;
};

// S(q, +-u) with derivatives. d/dv u = -p u^2, d/dx u = -c u^2, d/dv q = 2 p (1-q) u, d/dx q = -2 c q u, 1 - q = c^2.
template <class A, kind Kind, int Rows, int Order, class T>
TELAMON_HD TELAMON_INLINE rest<T> debye_rest(const point<T>& at) noexcept {
  constexpr T sign = Kind == kind::i ? T(1) : T(-1);
  const T u = sign * at.u, q = at.q, c2 = at.c * at.c;
  // the series without its first factor u
  partials<T> s = evaluate<A, tables::debye, Order, Rows>(u, q);
  rest<T> r{};
  if constexpr (Order >= 2) {
    T su = num::mad<A>(s.s, u, s.f), suu = num::mad<A>(s.ss, u, T(2) * s.s), sqq = s.tt * u, sq = s.t * u;
    T squ = num::mad<A>(s.st, u, s.t);
    T m = T(2) * c2 * sq - u * su, n = T(-2) * q * sq - u * su;
    T mq = T(-2) * sq + T(2) * c2 * sqq - u * squ, mu = T(2) * c2 * squ - su - u * suu;
    T nq = T(-2) * sq - T(2) * q * sqq - u * squ, nu = T(-2) * q * squ - su - u * suu;
    T u2 = u * u;
    r.vv = u2 * ((c2 - q) * m + q * (T(2) * c2 * mq - u * mu));
    r.vx = u2 * at.p * at.c * (T(-2) * m - T(2) * q * mq - u * mu);
    r.xx = u2 * ((q - c2) * n + c2 * (T(-2) * q * nq - u * nu));
  }
  if constexpr (Order >= 1) {
    T usu = num::mad<A>(s.s, u, s.f), sq2 = T(2) * s.t;  // both lack one factor u
    T uu = at.u * u;
    r.v = at.p * uu * (c2 * sq2 - usu);
    r.x = at.c * uu * (-q * sq2 - usu);
  }
  r.f = s.f * u;
  return r;
}

// Value; value, dv, dx; or dvv, dvx, dxx, from one point.
template <class A, kind Kind, bool Scaled, int Rows, class T>
TELAMON_HD TELAMON_INLINE values<T, 1> debye_value(const point<T>& at) noexcept {
  return {{assemble<A, Kind, Scaled>(at, debye_rest<A, Kind, Rows, 0>(at).f)}};
}
template <class A, kind Kind, bool Scaled, int Rows, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> debye_grad(const point<T>& at) noexcept {
  auto r = debye_rest<A, Kind, Rows, 1>(at);
  values<T, 3> out;
  out.at[0] = assemble<A, Kind, Scaled>(at, r.f);
  first_derivatives<Kind, Scaled>(at, r.v, r.x, out.at[1], out.at[2]);
  return out;
}
template <class A, kind Kind, int Rows, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> debye_hess(const point<T>& at, T x) noexcept {
  auto r = debye_rest<A, Kind, Rows, 2>(at);
  values<T, 3> out;
  second_derivatives<Kind>(at, x, r.vv, r.vx, r.xx, out.at[0], out.at[1], out.at[2]);
  return out;
}

// log(I_{n+1/2}/I_{n-1/2}) = -asinh(n/x) + p R(q, u) with n the order's half-shift, which vanishes at n = 0 as it must.
template <class A, int Rows, class T>
TELAMON_HD TELAMON_INLINE T debye_ratio_rest(const point<T>& at, T u) noexcept {
  return at.p * (u * evaluate<A, tables::debye_ratio, 0, Rows>(u, at.q).f);
}

}  // namespace telamon::special::detail
