// What the regimes leave over, one element at a time: zeros, infinities, NaN, negative orders, and the derivative of
// log I in the order near 0.
#pragma once

#include <telamon/special/functions.hpp>

namespace telamon::special::detail {

// pi v reduced first, so that large orders keep their phase.
TELAMON_HD inline void sin_cos_pi(double v, double& s, double& c) noexcept {
  double r = v - 2 * std::floor(v * 0.5);
  s = std::sin(pi * r), c = std::cos(pi * r);
  if (r == 1.0) s = 0.0;  // sin(pi) in floating point is not
}

// K_v/I_v from log(e^x K_v) and log(e^-x I_v).
TELAMON_HD TELAMON_INLINE double k_over_i(double x, double log_kve, double log_ive) noexcept {
  return std::exp(log_kve - log_ive) * std::exp(-2 * x);
}

// K_v/I_v, relatively accurate also where it is exponentially small.
TELAMON_HD inline double k_over_i(double v, double x) noexcept {
  double k = evaluate<log_bessel<kind::k, true, 0>>(v, x).at[0], i = evaluate<log_bessel<kind::i, true, 0>>(v, x).at[0];
  return k_over_i(x, k, i);
}

// d/dv log I_v near v = 0, where -K_0/I_0, exponentially small in x, is all that is left. With E = I_v + s K_v, even in
// v, s = sin(pi v)/pi and k = K_v/I_v: I' /I = (1 + s k) E'/E - (cos(pi v) + s K'/K) k, and E'/E is v times a smooth
// function. Relevant for v < 1/2 and 1.5625 <= x < 373, above which k underflows. k_slope is K'/K.
TELAMON_HD inline double i_slope_small_order(double v, double x, double k, double k_slope) noexcept {
  using A = native_arch;
  double u = 1 / x, q = v * v, slope;
  if (q + x * x >= w_end * w_end) {
    double rest_dx;
    point<double> at = locate<A>(v, x);
    rest<double> r = debye_rest<A, kind::i, tier_rows[1][tiers - 1], 1>(at);
    first_derivatives<kind::i, false>(at, r.v, r.x, slope, rest_dx);
  } else if (x >= 12.5) {
    slope = v * evaluate_on<A, tables::slope_3>(q, u).f;
  } else if (x >= 6.25) {
    slope = v * evaluate_on<A, tables::slope_2>(q, u).f;
  } else if (x >= 3.125) {
    slope = v * evaluate_on<A, tables::slope_1>(q, u).f;
  } else {
    slope = v * evaluate_on<A, tables::slope_0>(q, u).f;
  }
  double s, c;
  sin_cos_pi(v, s, c);
  s /= pi;
  return (1 + s * k) * slope - (c + s * k_slope) * k;
}

// Order -a < 0: I_-a = I_a + s K_a, s = (2/pi) sin(pi a), which may be negative; its logarithm is then NaN.
template <bool Scaled, int Order>
TELAMON_HD values<double, (Order == 0 ? 1 : 3)> i_negative_order(double a, double x) noexcept {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  values<double, (Order == 0 ? 1 : 3)> out;
  double s, c;
  sin_cos_pi(a, s, c);
  s *= 2 / pi;
  if (s == 0 && Order == 0) return {{evaluate<log_bessel<kind::i, Scaled, 0>>(a, x).at[0]}};
  double li = evaluate<log_bessel<kind::i, Scaled, 0>>(a, x).at[0];
  double lk = evaluate<log_bessel<kind::k, false, 0>>(a, x).at[0] - (Scaled ? x : 0);
  double top = s == 0 ? li : num::max(li, lk + std::log(std::fabs(s)));
  if (top == inf || top == -inf) {  // x = 0 or infinite arguments: the sign of I_-a is that of s
    double value = s < 0 && top == inf && !(li == inf) ? nan : top;
    if constexpr (Order == 0)
      return {{value}};
    else
      return {{Order == 1 ? value : nan, nan, nan}};
  }
  double total = std::exp(li - top) + (s == 0 ? 0 : s * std::exp(lk - top));
  double value = total > 0 ? top + std::log(total) : (total == 0 ? -inf : nan);
  out.at[0] = value;
  if constexpr (Order > 0) {
    auto i1 = evaluate<log_bessel<kind::i, false, 1>>(a, x), k1 = evaluate<log_bessel<kind::k, false, 1>>(a, x);
    double wi = std::exp(li - top) / total, wk = std::exp(lk - top) / total, ws = s == 0 ? 0 : wk * s;
    double s1 = 2 * c;  // ds/da; d2s/da2 = -pi^2 s
    double da = wi * i1.at[1] + ws * k1.at[1] + wk * s1, dx = wi * i1.at[2] + ws * k1.at[2];
    if constexpr (Order == 1) {
      out.at[1] = -da;
      out.at[2] = dx - (Scaled ? 1 : 0);
    } else {
      auto i2 = evaluate<log_bessel<kind::i, false, 2>>(a, x), k2 = evaluate<log_bessel<kind::k, false, 2>>(a, x);
      double iv = i1.at[1], ix = i1.at[2], kv = k1.at[1], kx = k1.at[2];
      out.at[0] = wi * (iv * iv + i2.at[0]) + ws * (kv * kv + k2.at[0] - pi * pi) + wk * 2 * s1 * kv - da * da;
      out.at[1] = -(wi * (iv * ix + i2.at[1]) + ws * (kv * kx + k2.at[1]) + wk * s1 * kx - da * dx);
      out.at[2] = wi * (ix * ix + i2.at[2]) + ws * (kx * kx + k2.at[2]) - dx * dx;
      if (s == 0) out.at[2] = i2.at[2];  // the rest cancels
    }
    if (!(total > 0)) out.at[0] = out.at[1] = out.at[2] = nan;
  }
  return out;
}

// Zeros, infinities, NaN and negative orders.
template <kind Kind, bool Scaled, int Order>
TELAMON_HD TELAMON_NOINLINE values<double, (Order == 0 ? 1 : 3)> edge(double v, double x) noexcept {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  constexpr double sign = Kind == kind::i ? 1 : -1;
  using out = values<double, (Order == 0 ? 1 : 3)>;
  auto pack = [](double value, double dv, double dx, double vv, double vx, double xx) {
    if constexpr (Order == 0)
      return out{{value}};
    else if constexpr (Order == 1)
      return out{{value, dv, dx}};
    else
      return out{{vv, vx, xx}};
  };
  if (v != v || x != x || x < 0) return pack(nan, nan, nan, nan, nan, nan);
  if (v < 0) {
    if constexpr (Kind == kind::i) {
      return i_negative_order<Scaled, Order>(-v, x);
    } else {  // K is even in v
      out r = evaluate<log_bessel<Kind, Scaled, Order>>(-v, x);
      if constexpr (Order > 0) r.at[1] = -r.at[1];
      return r;
    }
  }
  if (v == inf && x == inf) return pack(nan, nan, nan, nan, nan, nan);
  if (v == inf) return pack(-sign * inf, -sign * inf, sign * inf, nan, nan, nan);
  if (x == inf) return pack(Scaled ? -inf : sign * inf, -sign * 0.0, Scaled ? sign * 0.0 : sign, 0.0, 0.0, 0.0);
  if (x == 0) {
    if constexpr (Kind == kind::i)
      return pack(v == 0 ? 0 : -inf, -inf, v == 0 ? (Scaled ? -1 : 0) : inf, v == 0 ? -inf : nan, inf,
                  v == 0 ? 0.5 : -inf);
    else
      return pack(inf, v == 0 ? 0 : inf, -inf, inf, v == 0 ? 0 : -inf, inf);
  }
  if constexpr (Kind == kind::i && Order == 1) {  // small orders
    out r{};
    r.at[0] = evaluate<log_bessel<Kind, Scaled, 0>>(v, x).at[0];
    // the derivative in x comes from the ratio, as everywhere
    r.at[1] = i_slope_small_order(v, x, k_over_i(v, x), evaluate<log_bessel<kind::k, false, 1>>(v, x).at[1]);
    r.at[2] = log_bessel<Kind, Scaled, 1>::dx_small_order(v, x);
    return r;
  }
  return pack(nan, nan, nan, nan, nan, nan);
}

}  // namespace telamon::special::detail
