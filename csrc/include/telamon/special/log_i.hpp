// log I_v(x) for w = sqrt(v^2 + x^2) < 25, v >= 0, x > 0.
//
// - 1.5625 <= w < 25: Debye's form (debye.hpp), the series replaced by a polynomial in v/w and 1/w on four panels.
// - w < 1.5625: the ascending series, DLMF 10.25.2, v log(x/2) - lgamma(v+1) + log 0F1(; v+1; x^2/4), which is
//   relatively accurate down to v, x -> 0.
#pragma once

#include <telamon/special/debye.hpp>

namespace telamon::special::detail {

// The polynomial in place of S(q, u), with derivatives. p = v/w: p_v = c^2 u, p_x = -p c u; u_v = -p u^2, u_x = -c u^2.
template <class A, class Table, int Order, class T>
TELAMON_HD TELAMON_INLINE rest<T> panel_rest(const point<T>& at) noexcept {
  partials<T> g = evaluate_on<A, Table, Order>(at.p, at.u);
  rest<T> r{};
  r.f = g.f;
  if constexpr (Order >= 1) {
    const T p = at.p, c = at.c, u = at.u, c2 = c * c;
    T p_v = c2 * u, p_x = -p * c * u, u_v = -p * u * u, u_x = -c * u * u;
    r.v = g.s * p_v + g.t * u_v;
    r.x = g.s * p_x + g.t * u_x;
    if constexpr (Order >= 2) {
      const T u2 = u * u, u3 = u2 * u;
      T p_vv = T(-3) * c2 * p * u2, p_vx = c * u2 * (T(2) - T(3) * c2), p_xx = p * u2 * (T(3) * c2 - T(1));
      T u_vv = u3 * (T(3) * p * p - T(1)), u_vx = T(3) * p * c * u3, u_xx = u3 * (T(3) * c2 - T(1));
      r.vv = g.ss * p_v * p_v + T(2) * g.st * p_v * u_v + g.tt * u_v * u_v + g.s * p_vv + g.t * u_vv;
      r.vx = g.ss * p_v * p_x + g.st * (p_v * u_x + p_x * u_v) + g.tt * u_v * u_x + g.s * p_vx + g.t * u_vx;
      r.xx = g.ss * p_x * p_x + T(2) * g.st * p_x * u_x + g.tt * u_x * u_x + g.s * p_xx + g.t * u_xx;
    }
  }
  return r;
}

template <int Panel>
struct log_i_table;
template <>
struct log_i_table<0> : tables::log_i_0 {};
template <>
struct log_i_table<1> : tables::log_i_1 {};
template <>
struct log_i_table<2> : tables::log_i_2 {};
template <>
struct log_i_table<3> : tables::log_i_3 {};

template <class A, bool Scaled, int Panel, class T>
TELAMON_HD TELAMON_INLINE values<T, 1> log_i_panel(T v, T x) noexcept {
  point<T> at = locate<A, num::quotient::tiny>(v, x);
  return {{assemble<A, kind::i, Scaled>(at, panel_rest<A, log_i_table<Panel>, 0>(at).f)}};
}
template <class A, bool Scaled, int Panel, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_i_panel_grad(T v, T x) noexcept {
  point<T> at = locate<A, num::quotient::tiny>(v, x);
  rest<T> r = panel_rest<A, log_i_table<Panel>, 1>(at);
  values<T, 3> out;
  out.at[0] = assemble<A, kind::i, Scaled>(at, r.f);
  first_derivatives<kind::i, Scaled>(at, r.v, r.x, out.at[1], out.at[2]);
  return out;
}
template <class A, int Panel, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_i_panel_hess(T v, T x) noexcept {
  point<T> at = locate<A, num::quotient::tiny>(v, x);
  rest<T> r = panel_rest<A, log_i_table<Panel>, 2>(at);
  values<T, 3> out;
  second_derivatives<kind::i>(at, x, r.vv, r.vx, r.xx, out.at[0], out.at[1], out.at[2]);
  if constexpr (Panel < 2) out.at[2] = i_curvature(at, x, r.x);
  return out;
}

// 0F1(; b; y) - 1 = y/b + y^2/(2 b (b+1)) + ..., from the last term, two terms a division. 12 terms for y <= 0.62, b
// >= 1.
template <class A, int Order, class T>
TELAMON_HD TELAMON_INLINE jet<T, Order> hyp0f1_m1(jet<T, Order> b, T y) noexcept {
  constexpr int terms = 12;
  jet<T, Order> s{T(0)};  // s_k = y/(k (b+k-1)) (1 + s_{k+1})
  TELAMON_UNROLL
  for (int k = terms; k >= 1; k -= 2) {
    jet<T, Order> hi = b, lo = b;
    hi.f = T(k) * (b.f + T(k - 1)), lo.f = T(k - 1) * (b.f + T(k - 2));
    hi.d = b.d * T(k), lo.d = b.d * T(k - 1), hi.h = b.h * T(k), lo.h = b.h * T(k - 1);
    jet<T, Order> top = hi + s * y;
    top.f += y;
    s = (top * y) / (hi * lo);
  }
  return s;
}

// lgamma(1 + v), its derivative and second derivative, 0 <= v <= 1.5625; v times a polynomial.
template <class A, int Order, class T>
TELAMON_HD TELAMON_INLINE partials<T> lgamma1p(T v) noexcept {
  using table = tables::lgamma1p;
  constexpr double scale = 2 / (table::t_hi - table::t_lo), mid = (table::t_hi + table::t_lo) / 2;
  T f, d, h;
  evaluate_row<A, table, 0, Order>((v - T(mid)) * T(scale), f, d, h);
  partials<T> r{};
  r.f = v * f;
  r.t = f + v * (d * T(scale));
  r.tt = T(2) * T(scale) * (d + v * (h * T(scale)));
  return r;
}

// {value}, {value, dv, dx} or {dvv, dvx, dxx}
template <class A, bool Scaled, int Order, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_i_corner(T v, T x) noexcept {
  const T y = T(0.25) * x * x;
  num::dd<T> l = num::log_ratio<A, num::quotient::tiny>(num::dd<T>{T(2), T(0)}, x);  // log(2/x)
  partials<T> g = lgamma1p<A, Order>(v);
  jet<T, Order> b{v + T(1), T(1)};
  jet<T, Order> s = hyp0f1_m1<A>(b, y);
  values<T, 3> out{};
  if constexpr (Order < 2) {
    num::dd<T> vl = num::two_prod<A>(v, l.hi);
    num::accumulator<T> sum{-vl.hi, -vl.lo - v * l.lo};
    sum.add(num::log1p<A>(s.f));
    if constexpr (Scaled) sum.add(-x);
    sum.add(-g.f);
    out.at[0] = sum.hi + sum.lo;
  }
  if constexpr (Order >= 1) {
    // r = I_{v+1}/I_v = x/(2 (v+1)) 0F1(; v+2)/0F1(; v+1)
    jet<T, Order> one_s = s, b2 = b;
    one_s.f += T(1), b2.f += T(1);
    jet<T, Order> s2 = hyp0f1_m1<A>(b2, y);
    s2.f += T(1);
    jet<T, Order> r = (s2 / (b * one_s)) * (T(0.5) * x);
    jet<T, Order> slope = log_slopes(one_s);
    const T over_x = v / x;
    if constexpr (Order == 1) {
      out.at[1] = -l.hi - (g.t - slope.d);
      out.at[2] = Scaled ? over_x - (T(1) - r.f) : over_x + r.f;
    } else {
      out.at[0] = slope.h - g.tt;
      out.at[1] = T(1) / x + r.d;
      // r/x = 1/(2 (v+1)) s2/(1+s), kept apart from x, which may be tiny
      T r_over_x = T(0.5) * (s2.f / (b.f * one_s.f));
      out.at[2] = -over_x / x + (T(1) - (T(2) * v + T(1)) * r_over_x - r.f * r.f);
    }
  }
  return out;
}

}  // namespace telamon::special::detail
