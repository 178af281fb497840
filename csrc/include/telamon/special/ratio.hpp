// Ratios of neighbouring orders: I_v/I_{v-1} in [0, 1) for v >= 1/2, its complement 1 - I_v/I_{v-1} without
// cancellation, its inverse in x, and K_v/K_{v-1}. Relative error below 1e-14.
//
// With n = v - 1/2, Debye's series for the logarithm of the ratio is odd in n (debye_ratio_rest), hence exact zeros
// where the ratio is 1. Below w = 25 the ratio is the derivative of log I or log K in x, which the panels give without
// cancellation: I_v/I_{v-1} = d/dx log I_{v-1} - (v-1)/x, K_{v-1}/K_v = -d/dx log K_v - v/x.
#pragma once

#include <telamon/special/functions.hpp>

namespace telamon::special::detail {

inline constexpr int ratio_rows[tiers] = {5, 13, 16, 21};

// No single-precision form: float32 goes through double.
struct no_single {
  static constexpr bool has_float = false;
};

// I_v/I_{v-1} and its complement
struct ratio_pair {
  double r, c;
};

// Debye: r = x/(n + w) e^rest, or (w - n)/x e^rest for n < 0; c = -expm1(log r).
template <class A, int Tier>
TELAMON_HD TELAMON_INLINE ratio_pair i_ratio_debye(double v, double x) noexcept {
  constexpr int rows = ratio_rows[Tier < tiers ? Tier : tiers - 1];
  const double n = v - 0.5, m = num::abs(n);
  point<double> at;
  if constexpr (Tier == extreme)
    at = locate_extreme<A>(m, x);
  else
    at = locate<A>(m, x);
  const double sign = n < 0 ? -1.0 : 1.0, rest = sign * debye_ratio_rest<A, rows>(at, at.u);
  const double s = at.c / (1 + at.p);  // x/(m + w)
  ratio_pair out;
  out.r = (n < 0 ? 1 / s : s) * num::exp<A>(rest);
  out.c = -num::expm1<A>(rest - sign * (at.asinh.hi + at.asinh.lo));
  return out;
}

template <class A, int Panel>
TELAMON_HD TELAMON_INLINE ratio_pair i_ratio_panel(double v, double x) noexcept {
  const double mu = v - 1;
  point<double> at = locate<A, num::quotient::tiny>(mu, x);
  const double rest_x = panel_rest<A, log_i_table<Panel>, 1>(at).x - 0.5 * at.c * at.u, p = at.p, c = at.c;
  return {c / (1 + p) + rest_x, p * (1 + c + p) / ((1 + c) * (1 + p)) - rest_x};
}

// Small x, any order.
template <class A>
TELAMON_HD TELAMON_INLINE ratio_pair i_ratio_corner(double v, double x) noexcept {
  const double y = 0.25 * x * x;
  jet<double, 0> a{v}, b{v + 1};
  const double r = (0.5 * x / v) * ((1 + hyp0f1_m1<A>(b, y).f) / (1 + hyp0f1_m1<A>(a, y).f));
  return {r, 1 - r};
}

TELAMON_HD inline ratio_pair i_ratio(double v, double x) noexcept;

// 0 <= v < 1. r from r_v = 1/(2v/x + r_{v+1}); c near v = 1/2, where it is exponentially small, from the parts of I
// that are even in the order: with a = 1 - v, k = K_a/I_a, s = sin(pi v)/pi and L the odd logarithm of their ratio, c =
// -expm1(L) + s k/(1 + 2 s k) (e^L + K_v/K_a).
TELAMON_HD TELAMON_NOINLINE inline ratio_pair i_ratio_small_order(double v, double x) noexcept {
  using A = native_arch;
  const double next = i_ratio(v + 1, x).r, n = v - 0.5, u = 1 / x;
  ratio_pair out;
  if (x * next > 1e-280)
    out.r = x / (2 * v + x * next);
  else  // where the product would lose digits, or vanish and leave x / 0 at v = 0
    out.r = v / x < 1e300 ? 1 / (2 * (v / x) + next) : x / (2 * v);
  out.c = 1 - out.r;
  if (x < i_corner_end) return out;
  double rest, q = n * n;
  if (q + x * x >= w_end * w_end) {
    const point<double> at = locate_extreme<A>(num::abs(n), x);
    rest = (n < 0 ? -1 : 1) * (debye_ratio_rest<A, ratio_rows[tiers - 1]>(at, at.u) - (at.asinh.hi + at.asinh.lo));
  } else if (x >= 12.5) {
    rest = -n * evaluate_on<A, tables::even_ratio_3>(q, u).f;
  } else if (x >= 6.25) {
    rest = -n * evaluate_on<A, tables::even_ratio_2>(q, u).f;
  } else if (x >= 3.125) {
    rest = -n * evaluate_on<A, tables::even_ratio_1>(q, u).f;
  } else {
    rest = -n * evaluate_on<A, tables::even_ratio_0>(q, u).f;
  }
  out.c = -num::expm1<A>(rest);
  if (x < small_order_end) {
    const double a = 1 - v, k = k_over_i(a, x);
    double s, co;
    sin_cos_pi(v, s, co);
    s /= pi;
    const double kr = std::exp(evaluate<log_bessel<kind::k, true, 0>>(v, x).at[0] -
                               evaluate<log_bessel<kind::k, true, 0>>(a, x).at[0]);
    out.c += s * k / (1 + 2 * s * k) * (std::exp(rest) + kr);
  }
  return out;
}

TELAMON_HD TELAMON_NOINLINE inline ratio_pair i_ratio_edge(double v, double x) noexcept {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  if (!(v >= 0) || !(x >= 0) || (v == inf && x == inf)) return {nan, nan};
  if (v == inf || x == 0) return v == 0 ? ratio_pair{inf, -inf} : ratio_pair{0, 1};
  if (x == inf) return {1, 0};
  return i_ratio_small_order(v, x);
}

// The ratio and its complement.
struct iv_ratio_function {
  using single = no_single;
  static constexpr int outputs = 2, regimes = i_regimes, edge_regime = i_edge;

  // By the order v - 1, negative for v < 1: an edge.
  TELAMON_HD static TELAMON_INLINE int classify(double v, double x) noexcept {
    return or_corner(detail::classify<kind::i>(v - 1, x), x);
  }
  TELAMON_HD static TELAMON_INLINE int sort(double v, double x) noexcept {
    return or_corner(detail::sort<kind::i>(v - 1, x), x);
  }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE values<double, 2> eval(double v, double x) noexcept {
    const ratio_pair p = pair<A, R>(v, x);
    return {{p.r, p.c}};
  }

 private:
  TELAMON_HD static TELAMON_INLINE int or_corner(int r, double x) noexcept {
    return (r >= i_panel_0) & (r <= i_panel_3) & (x < i_corner_end) ? int(i_corner) : r;
  }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE ratio_pair pair(double v, double x) noexcept {
    if constexpr (R <= extreme)
      return i_ratio_debye<A, R>(v, x);
    else if constexpr (R <= i_panel_3)
      return i_ratio_panel<A, R - i_panel_0>(v, x);
    else if constexpr (R == i_corner)
      return i_ratio_corner<A>(v, x);
    else
      return i_ratio_edge(v, x);
  }
};

TELAMON_HD inline ratio_pair i_ratio(double v, double x) noexcept {
  const auto both = evaluate<iv_ratio_function>(v, x);
  return {both.at[0], both.at[1]};
}

struct kv_ratio_function {
  using single = no_single;
  static constexpr int outputs = 1, regimes = k_regimes, edge_regime = k_edge;

  TELAMON_HD static TELAMON_INLINE int classify(double v, double x) noexcept { return detail::classify<kind::k>(v, x); }
  TELAMON_HD static TELAMON_INLINE int sort(double v, double x) noexcept { return detail::sort<kind::k>(v, x); }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE values<double, 1> eval(double v, double x) noexcept {
    if constexpr (R <= extreme) {
      constexpr int rows = ratio_rows[R < tiers ? R : tiers - 1];
      const double n = v - 0.5, m = num::abs(n);
      point<double> at;
      if constexpr (R == extreme)
        at = locate_extreme<A>(m, x);
      else
        at = locate<A>(m, x);
      const double s = n < 0 ? at.c / (1 + at.p) : (1 + at.p) * at.w_over_x;
      return {{s * num::exp<A>((n < 0 ? 1.0 : -1.0) * debye_ratio_rest<A, rows>(at, -at.u))}};
    } else if constexpr (R == k_far) {
      const point<double> at = locate<A, num::quotient::tiny>(v, x);
      const double rest_x = log_k_far_rest<A, 1>(at).x - 0.5 * at.c * at.u;
      return {{1 / (at.c / (1 + at.p) - rest_x)}};
    } else if constexpr (R <= k_corner) {
      k_pair<double, 0> k;
      if constexpr (R == k_corner)
        k = log_k_corner_pair<A, 0>(v, x).k;
      else
        k = log_k_near_pair<A, R - k_near_0, 0>(v, x).k;
      return {{k.first ? (0.5 * (k.h.f / k.before.f)) * x : (2 * (k.h.f / k.before.f)) / x}};
    } else {
      return {{edge(v, x)}};
    }
  }
  TELAMON_HD static TELAMON_NOINLINE double edge(double v, double x) noexcept {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
    if (v != v || !(x >= 0)) return nan;
    const double a = num::abs(v);
    if (a == inf) return x == inf ? nan : (v > 0 ? inf : 0);
    if (x == inf) return 1;
    if (x == 0) return v > 0.5 ? inf : (v == 0.5 ? 1 : 0);
    return 1 / evaluate<kv_ratio_function>(1 - v, x).at[0];  // v < 0: K_v/K_{v-1} = K_{-v}/K_{1-v}
  }
};

// x with I_v(x)/I_{v-1}(x) = r, 0 <= r < 1, v >= 1/2, by Halley's method from r (d - r^2)/(1 - r^2), d = 2 v.
// Derivatives by Riccati's equation A' = 1 - A^2 - (d - 1) A/x. Residuals of A below 1/2, of 1 - A above.
inline constexpr int inverse_steps = 2;

TELAMON_HD TELAMON_INLINE double inverse_start(double v, double r) noexcept {
  const double c = (1 - r) * (1 + r);
  return r * ((2 * v - 1) + c) / c;
}
TELAMON_HD TELAMON_INLINE double inverse_step(double v, double r, double x, double a, double c) noexcept {
  const double e = 2 * v - 1, f = r < 0.5 ? a - r : (1 - r) - c;
  const double slope = c * (1 + a) - e * (a / x), curve = -2 * a * slope - e * (slope - a / x) / x;
  const double next = x - 2 * f * slope / (2 * slope * slope - f * curve);
  return next > 0 ? next : x;
}
// Where two steps are proved by test: else inverse_edge.
TELAMON_HD TELAMON_INLINE bool inverse_is_plain(double v, double r) noexcept {
  return (v >= 1) & (v <= 1e300) & (r > 1e-300) & (r < 1);
}
TELAMON_HD TELAMON_NOINLINE inline double inverse_edge(double v, double r) noexcept {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  if (!(v >= 0.5) || v == inf || !(r >= 0) || r > 1) return nan;
  if (r == 0) return 0;
  if (r == 1) return inf;
  if (r <= 1e-300) return 2 * v * r;
  // 1/2 <= v < 1: from atanh r, exact at v = 1/2
  double x = num::max(0.5 * std::log1p(2 * r / (1 - r)), inverse_start(v, r));
  for (int k = 0; k < 12; ++k) {
    const ratio_pair p = i_ratio(v, x);
    const double before = x;
    x = inverse_step(v, r, x, p.r, p.c);
    if (num::abs(x - before) <= 1e-16 * x) break;
  }
  return x;
}
TELAMON_HD TELAMON_NOINLINE inline double inverse(double v, double r) noexcept {
  if (!inverse_is_plain(v, r)) return inverse_edge(v, r);
  double x = inverse_start(v, r);
  for (int k = 0; k < inverse_steps; ++k) {
    const ratio_pair p = i_ratio(v, x);
    x = inverse_step(v, r, x, p.r, p.c);
  }
  return x;
}

}  // namespace telamon::special::detail
