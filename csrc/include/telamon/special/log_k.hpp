// log K_v(x) for w = sqrt(v^2 + x^2) < 25, v >= 0, x > 0.
//
// - w >= 12.5: Debye's form, the series replaced by a polynomial in v^2/w^2 and 1/w.
// - w < 12.5, x >= 0.0977: K_{f-1} and K_f, f = v - floor(v), from polynomials in f^2 and 1/x for
//   log K + x + log(2x/pi)/2 (K is even in the order, so both orders lie in [0, 1]), then DLMF 10.29.1 upwards.
// - w < 12.5, x < 0.0977: Temme's form K_mu = P(mu^2, y) sinh(mu l)/mu - Q(mu^2, y) cosh(mu l), |mu| <= 1/2,
//   l = log(2/x), y = x^2/4, and the same recurrence.
//
// The recurrence runs in H_j = K_{mu+j} (x/2)^j: H_{j+1} = (mu+j) H_j + y H_{j-1}, exact coefficients, no overflow.
#pragma once

#include <telamon/special/log_i.hpp>

namespace telamon::special::detail {

inline constexpr int k_steps = 14;  // n = round(v) <= 13

// H_n = h + h_lo for integral n in [0, k_steps), and what comes before it: H_{n-1}, or y H_{-1} if n = 0 (first). So
// K_{v-1}/K_v = (before/h) (x/2), or (before/h)/(x/2) if first.
template <class T, int Order>
struct k_pair {
  jet<T, Order> h, before;
  T h_lo;
  bool first;
};

template <class A, int Order, class T>
TELAMON_HD TELAMON_INLINE k_pair<T, Order> k_recur(T mu, T n, T y, T y_lo, jet<T, Order> h0, jet<T, Order> y_hm1,
                                                   T h0_lo, jet<T, Order> h1, T h1_lo) noexcept {
  k_pair<T, Order> r{h0, y_hm1, h0_lo, n == T(0)};
  jet<T, Order> before = h0, now = h1;
  T before_lo = h0_lo, now_lo = h1_lo;
  auto select = [](bool take, jet<T, Order> a, jet<T, Order> b) {
    return jet<T, Order>{take ? a.f : b.f, take ? a.d : b.d, take ? a.h : b.h};
  };
  TELAMON_UNROLL
  for (int j = 1; j < k_steps; ++j) {
    jet<T, Order> yb = before * y;
    bool here = n == T(j);
    r.h = select(here, now, r.h);
    r.before = select(here, before, r.before);
    r.h_lo = here ? now_lo : r.h_lo;
    const T a = mu + T(j);
    jet<T, Order> next;
    if constexpr (Order == 0) {  // the value carries its rounding errors along
      num::dd<T> p = num::two_prod<A>(a, now.f), q = num::two_prod<A>(y, before.f), s = num::two_sum(p.hi, q.hi);
      T lo = num::mad<A>(a, now_lo, num::mad<A>(y, before_lo, y_lo * before.f)) + ((p.lo + q.lo) + s.lo);
      before_lo = now_lo;
      now_lo = lo;
      next.f = s.hi;
    } else {
      next = now * a + yb;
      next.d += now.f;
      if constexpr (Order >= 2) next.h += T(2) * now.d;
    }
    before = now;
    now = next;
  }
  return r;
}

// Everything that the end needs.
template <class T, int Order>
struct k_state {
  T n;
  num::dd<T> l;
  num::accumulator<T> base;
  jet<T, Order> base_slopes;
  k_pair<T, Order> k;
  T xx;  // d2/dx2 of log K_v, Order 2
};

// d2/dx2 log K_v from Bessel's equation: v/x^2 - r', r' = r^2 - 1 + (2v-1) r/x, r = K_{v-1}/K_v. It loses a factor x^2,
// so it serves small x only. Infinite where 1/x^2 overflows.
inline constexpr int k_equation_panels = 5;  // x < 3.125
template <class T>
TELAMON_HD TELAMON_INLINE T k_curvature(T v, T x, const k_pair<T, 2>& k) noexcept {
  const T ratio = k.before.f / k.h.f, r = k.first ? (T(2) * ratio) / x : ratio * (T(0.5) * x);
  const T xx = (v / x) / x - (r * (r + (T(2) * v - T(1)) / x) - T(1));
  return xx == xx ? xx : std::numeric_limits<T>::infinity();
}

template <int Panel>
struct log_k_table;
template <>
struct log_k_table<0> : tables::log_k_0 {};
template <>
struct log_k_table<1> : tables::log_k_1 {};
template <>
struct log_k_table<2> : tables::log_k_2 {};
template <>
struct log_k_table<3> : tables::log_k_3 {};
template <>
struct log_k_table<4> : tables::log_k_4 {};
template <>
struct log_k_table<5> : tables::log_k_5 {};
template <>
struct log_k_table<6> : tables::log_k_6 {};

// An even function of the order, from its derivatives in the order's square
template <int Order, class T>
TELAMON_HD TELAMON_INLINE jet<T, Order> even_jet(T order, const partials<T>& p) noexcept {
  jet<T, Order> r{p.f};
  if constexpr (Order >= 1) r.d = T(2) * order * p.s;
  if constexpr (Order >= 2) r.h = T(2) * p.s + T(4) * order * order * p.ss;
  return r;
}

template <class A, int Panel, int Order, class T>
TELAMON_HD TELAMON_INLINE k_state<T, Order> log_k_near_pair(T v, T x) noexcept {
  const T n = T(int(v)), f = v - n, g = T(1) - f, u = T(1) / x, half_x = T(0.5) * x;
  const partials<T> p_f = evaluate_on<A, log_k_table<Panel>, Order>(f * f, u);
  jet<T, Order> at_f = even_jet<Order>(f, p_f);
  jet<T, Order> at_g = even_jet<Order>(g, evaluate_on<A, log_k_table<Panel>, Order>(g * g, u));
  at_g.d = -at_g.d;
  // t = K_{f-1}/K_f
  jet<T, Order> t = at_g - at_f;
  const T e = num::exp<A>(t.f);
  t = chain(t, e, e, e);
  jet<T, Order> h0{T(1)}, y_hm1 = t * half_x, h1 = y_hm1;
  const T f_sum = y_hm1.f + f;
  const T h1_lo = num::two_sum(y_hm1.f, f).lo;
  h1.f = f_sum;
  if constexpr (Order >= 1) h1.d += T(1);
  const num::dd<T> quarter_xx = num::two_prod<A>(half_x, half_x);
  k_pair<T, Order> k = k_recur<A, Order>(f, n, quarter_xx.hi, quarter_xx.lo, h0, y_hm1, T(0), h1, h1_lo);
  num::dd<T> l{T(0), T(0)};
  num::accumulator<T> base{T(0), T(0)};
  if constexpr (Order == 0) {
    l = num::log_ratio<A>(num::dd<T>{T(2), T(0)}, x);
    // -x - log(2x/pi)/2 = -x + l/2 + log(pi/2)/2 - log(2)/2 ... with l = log(2/x): log(2x/pi) = log(4/pi) - l
    base = {-x, T(0)};
    base.add(T(0.5) * l.hi);
    base.add(T(-half_log_4_pi_hi));
    const num::dd<T> exact = evaluate_exactly_on<A, log_k_table<Panel>>(f * f, u);
    base.add(exact.hi);
    base.lo += exact.lo + (T(0.5) * l.lo - T(half_log_4_pi_lo));
  }
  T xx = T(0);
  if constexpr (Order == 2 && Panel < k_equation_panels) {
    xx = k_curvature(v, x, k);
  } else if constexpr (Order == 2) {
    // Order f from the polynomial itself, then upwards: r' = r^2 ((v-1)/x^2 + d2/dx2 log K_{v-1}), r = K_{v-1}/K_v.
    // Bessel's equation would give the same, less exactly.
    const T u2 = u * u;
    xx = u2 * (T(0.5) + u * (T(2) * p_f.t + u * p_f.tt));
    T before = y_hm1.f, now = T(1);
    for (int j = 1; T(j) <= n; ++j) {
      const T next = j == 1 ? y_hm1.f + f : (f + T(j - 1)) * now + quarter_xx.hi * before;
      before = now, now = next;
      const T r = half_x * before / now;
      xx = (f + T(j)) * u2 - r * r * ((f + T(j - 1)) * u2 + xx);
    }
  }
  return {n, l, base, at_f, k, xx};
}

// sinh(a)/a, that less 1, (a cosh(a) - sinh(a))/a^3 and cosh(a): by series below 1, where the formulas cancel.
template <class T>
struct hyperbolic {
  T sinhc, sinhc_m1, chi, cosh, exp, inverse;
};
template <class A, class T>
TELAMON_HD TELAMON_INLINE hyperbolic<T> hyperbolics(T a, T a_lo) noexcept {
  hyperbolic<T> r;
  r.exp = num::exp<A>(a) * (T(1) + a_lo);
  r.inverse = num::exp<A>(-a) * (T(1) - a_lo);
  const T inverse = r.inverse, z = a * a;
  r.cosh = T(0.5) * (r.exp + inverse);
  // sum z^k/(2k+1)! and sum z^k (2k+2)/(2k+3)!
  T s = T(1.0 / 355687428096000.0), c = T(18.0 / 121645100408832000.0);
  s = num::mad<A>(s, z, T(1.0 / 1307674368000.0)), c = num::mad<A>(c, z, T(16.0 / 355687428096000.0));
  s = num::mad<A>(s, z, T(1.0 / 6227020800.0)), c = num::mad<A>(c, z, T(14.0 / 1307674368000.0));
  s = num::mad<A>(s, z, T(1.0 / 39916800.0)), c = num::mad<A>(c, z, T(12.0 / 6227020800.0));
  s = num::mad<A>(s, z, T(1.0 / 362880.0)), c = num::mad<A>(c, z, T(10.0 / 39916800.0));
  s = num::mad<A>(s, z, T(1.0 / 5040.0)), c = num::mad<A>(c, z, T(8.0 / 362880.0));
  s = num::mad<A>(s, z, T(1.0 / 120.0)), c = num::mad<A>(c, z, T(6.0 / 5040.0));
  s = num::mad<A>(s, z, T(1.0 / 6.0)), c = num::mad<A>(c, z, T(4.0 / 120.0));
  c = num::mad<A>(c, z, T(2.0 / 6.0));
  const bool small = z < T(1);
  const T safe = small ? T(1) : a, large_s = T(0.5) * (r.exp - inverse);
  r.sinhc_m1 = small ? s * z : large_s / safe - T(1);
  r.sinhc = T(1) + r.sinhc_m1;
  r.chi = small ? c : (r.cosh - large_s / safe) / (safe * safe);
  return r;
}

using tables::k_corner_even_m1, tables::k_corner_odd, tables::k_corner_even_y, tables::k_corner_odd_y;

template <class A, int Order, class T>
TELAMON_HD TELAMON_INLINE k_state<T, Order> log_k_corner_pair(T v, T x) noexcept {
  const T n = T(int(v + T(0.5))), mu = v - n, y = T(0.25) * x * x;
  const num::dd<T> l = num::log_ratio<A, num::quotient::tiny>(num::dd<T>{T(2), T(0)}, x);
  const num::dd<T> al = num::two_prod<A>(mu, l.hi);
  const T q = mu * mu, a = al.hi, a_lo = al.lo + mu * l.lo;
  // the order's parity is used: everything is a function of mu^2, times mu where odd
  const partials<T> even = evaluate_on<A, k_corner_even_m1, Order>(q, y),
                    odd = evaluate_on<A, k_corner_odd, Order>(q, y);
  const partials<T> even_y = evaluate_on<A, k_corner_even_y, Order>(q, y);
  const partials<T> odd_y = evaluate_on<A, k_corner_odd_y, Order>(q, y);
  const hyperbolic<T> h = hyperbolics<A>(a, a_lo);
  // S = sinh(a)/mu = l sinhc(a) and C = cosh(a), with d/dmu a = l: S' = l^3 mu chi, S'' = l^3 (sinhc - 2 chi)
  const T l2 = l.hi * l.hi;
  jet<T, Order> s{l.hi * h.sinhc}, c{h.cosh}, e{h.exp}, e_minus{h.inverse}, m{mu};
  jet<T, Order> pe = even_jet<Order>(mu, even), po = even_jet<Order>(mu, odd);
  pe.f += T(1);
  jet<T, Order> pe_y = even_jet<Order>(mu, even_y), po_y = even_jet<Order>(mu, odd_y);
  if constexpr (Order >= 1) {
    s.d = (l2 * l.hi * h.chi) * mu, c.d = (l2 * h.sinhc) * mu, m.d = T(1);
    e.d = l.hi * e.f, e_minus.d = -l.hi * e_minus.f;
  }
  if constexpr (Order >= 2) {
    s.h = l2 * l.hi * (h.sinhc - T(2) * h.chi), c.h = l2 * h.cosh;
    e.h = l2 * e.f, e_minus.h = l2 * e_minus.f;
  }
  // Unless K_mu itself is wanted near mu = 0, where only even functions of mu stay, e^a is taken out: its derivatives,
  // powers of l, would cancel in those of the logarithm. Z = e^-2a: S -> (1 - Z)/(2 mu), C -> (1 + Z)/2.
  const bool factor = (n > T(0)) | (a > T(2));
  const jet<T, Order> one{T(1)}, z = e_minus * e_minus;
  if (factor) {
    const bool direct = num::abs(a) > T(1);
    jet<T, Order> safe_m = m;
    safe_m.f = direct ? mu : T(1);
    const jet<T, Order> s_direct = ((one - z) / safe_m) * T(0.5), s_series = s * e_minus;
    s = direct ? s_direct : s_series;
    c = (one + z) * T(0.5);
    e_minus = z;
    e = one;
  }
  num::accumulator<T> base{T(0), T(0)};
  jet<T, Order> base_slopes{};
  base_slopes.d = factor ? l.hi : T(0);
  if constexpr (Order == 0) base = {factor ? a : T(0), factor ? a_lo : T(0)};
  jet<T, Order> h0 = pe * s - po * c;
  const jet<T, Order> small = (pe_y * s - po_y * c) * y;
  // H_1 = (x/2) K_{mu+1} = ((P - mu Q) e^a)/2 - y (dP/dy S - dQ/dy C), and y H_{-1} = (x/2) K_{1-mu} the same with -mu
  const jet<T, Order> h1 = ((pe - m * po) * e) * T(0.5) - small, y_hm1 = ((pe + m * po) * e_minus) * T(0.5) - small;
  T h0_lo = T(0);
  if constexpr (Order ==
                0) {  // l + l ((1 + sinhc_m1) (1 + even) - 1) - Q C: log K may be near 0, and then needs it all
    const T delta = h.sinhc_m1 + even.f + h.sinhc_m1 * even.f;
    const num::dd<T> p = num::two_prod<A>(l.hi, delta), qc = num::two_prod<A>(po.f, h.cosh);
    const num::dd<T> s1 = num::two_sum(l.hi, p.hi), s2 = num::two_sum(s1.hi, -qc.hi);
    h0.f = factor ? h0.f : s2.hi;
    h0_lo = factor ? T(0) : s2.lo + (s1.lo + (p.lo - qc.lo) + (l.lo + l.lo * delta));
  }
  const k_pair<T, Order> k = k_recur<A, Order>(mu, n, y, T(0), h0, y_hm1, h0_lo, h1, T(0));
  T xx = T(0);
  if constexpr (Order == 2) {
    xx = k_curvature(v, x, k);
  }
  return {n, l, base, base_slopes, k, xx};
}

// The common end: from log K_mu known up to the factor h (value h + h_lo), the order v = mu + n.
// log K_v = base + log(h) + n l; K_{v-1}/K_v = (2/x) y_before/h.
template <class A, bool Scaled, int Order, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> k_finish(T v, T x, const k_state<T, Order>& state) noexcept {
  auto [n, l, base, base_slopes, k, xx] = state;
  values<T, 3> out{};
  if constexpr (Order == 0) {
    num::dd<T> log_h = num::log_ratio<A>(num::quick_two_sum(k.h.f, k.h_lo), T(1)), nl = num::two_prod<A>(n, l.hi);
    base.add(nl.hi);
    base.add(log_h.hi);
    base.lo += nl.lo + n * l.lo + log_h.lo;
    if constexpr (Scaled) base.add(x);
    out.at[0] = base.hi + base.lo;
  } else {
    jet<T, Order> r = k.before / k.h, slope = log_slopes(k.h);
    const T half_x = T(0.5) * x;
    r.f = k.first ? (T(2) * r.f) / x : r.f * half_x,
    r.d = k.first ? (T(2) * r.d) / x : r.d * half_x;  // 2/x may overflow
    if constexpr (Order == 1) {
      out.at[1] = base_slopes.d + slope.d;
      out.at[2] = Scaled ? (T(1) - r.f) - v / x : -r.f - v / x;
    } else {
      out.at[0] = base_slopes.h + slope.h;
      // -1/x - dr/dv, in one quotient where both may overflow
      const T dv_ratio = (k.before / k.h).d;
      out.at[1] = k.first ? -(T(1) + T(2) * dv_ratio) / x : T(-1) / x - dv_ratio * half_x;
      out.at[2] = xx;
    }
  }
  return out;
}

template <class A, bool Scaled, int Panel, int Order, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_k_near(T v, T x) noexcept {
  values<T, 3> out = k_finish<A, Scaled, Order>(v, x, log_k_near_pair<A, Panel, Order>(v, x));
  if constexpr (Order == 1) out.at[0] = log_k_near<A, Scaled, Panel, 0>(v, x).at[0];
  return out;
}
template <class A, bool Scaled, int Order, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_k_corner(T v, T x) noexcept {
  values<T, 3> out = k_finish<A, Scaled, Order>(v, x, log_k_corner_pair<A, Order>(v, x));
  if constexpr (Order == 1) out.at[0] = log_k_corner<A, Scaled, 0>(v, x).at[0];
  return out;
}

// w in [12.5, 25): the polynomial in q = v^2/w^2 and u. q_v = 2 p c^2 u, q_x = -2 q c u.
template <class A, int Order, class T>
TELAMON_HD TELAMON_INLINE rest<T> log_k_far_rest(const point<T>& at) noexcept {
  partials<T> g = evaluate_on<A, tables::log_k_far, Order>(at.q, at.u);
  rest<T> r{};
  r.f = g.f;
  if constexpr (Order >= 1) {
    const T p = at.p, c = at.c, u = at.u, c2 = c * c, q = at.q;
    T q_v = T(2) * p * c2 * u, q_x = T(-2) * q * c * u, u_v = -p * u * u, u_x = -c * u * u;
    r.v = g.s * q_v + g.t * u_v;
    r.x = g.s * q_x + g.t * u_x;
    if constexpr (Order >= 2) {
      const T u2 = u * u, u3 = u2 * u;
      T q_vv = T(2) * c2 * u2 * (T(1) - T(4) * q), q_vx = T(4) * p * c * u2 * (q - c2),
        q_xx = T(2) * q * u2 * (T(4) * c2 - T(1));
      T u_vv = u3 * (T(3) * q - T(1)), u_vx = T(3) * p * c * u3, u_xx = u3 * (T(3) * c2 - T(1));
      r.vv = g.ss * q_v * q_v + T(2) * g.st * q_v * u_v + g.tt * u_v * u_v + g.s * q_vv + g.t * u_vv;
      r.vx = g.ss * q_v * q_x + g.st * (q_v * u_x + q_x * u_v) + g.tt * u_v * u_x + g.s * q_vx + g.t * u_vx;
      r.xx = g.ss * q_x * q_x + T(2) * g.st * q_x * u_x + g.tt * u_x * u_x + g.s * q_xx + g.t * u_xx;
    }
  }
  return r;
}

template <class A, bool Scaled, int Order, class T>
TELAMON_HD TELAMON_INLINE values<T, 3> log_k_far(T v, T x) noexcept {
  point<T> at = locate<A, num::quotient::tiny>(v, x);
  rest<T> r = log_k_far_rest<A, Order>(at);
  values<T, 3> out{};
  if constexpr (Order < 2) out.at[0] = assemble<A, kind::k, Scaled>(at, r.f);
  if constexpr (Order == 1) first_derivatives<kind::k, Scaled>(at, r.v, r.x, out.at[1], out.at[2]);
  if constexpr (Order == 2) second_derivatives<kind::k>(at, x, r.vv, r.vx, r.xx, out.at[0], out.at[1], out.at[2]);
  return out;
}

}  // namespace telamon::special::detail
