// Which formula serves which arguments. A regime is a number; a function evaluates one regime at a time, as straight
// code, so that a block of arguments can be sorted by regime and each group vectorised.
#pragma once

#include <telamon/special/log_k.hpp>

namespace telamon::special::detail {

// Debye tiers: rows of the series that suffice for w above the bound. Gradients need a few more. Few tiers, since a
// block whose elements share one is spared the sorting, which costs more than some rows too many.
inline constexpr int tiers = 4;
inline constexpr double tier_bound[tiers] = {1000, 50, 35, 25};
inline constexpr int tier_rows[3][tiers] = {{5, 11, 13, 17}, {5, 13, 17, 24}, {5, 14, 18, 25}};

// Below, w and x are cut in panels by factors of two.
inline constexpr double w_end = 25, w_far = 12.5, i_corner_end = 1.5625, k_corner_end = 0.09765625;

enum regime : int {
  extreme = tiers,  // Debye with scaling
  // I                        K
  i_panel_0,                  // w in [1.5625, 3.125), then doubling
  i_panel_3 = i_panel_0 + 3,  // w in [12.5, 25)
  i_corner,                   // w < 1.5625
  i_edge,                     // zeros, infinities, NaN, negative orders: one at a time
  k_far = extreme + 1,        // w in [12.5, 25)
  k_near_0,                   // w < 12.5, x in [0.0977, 0.195), then doubling
  k_near_6 = k_near_0 + 6,
  k_corner,  // w < 12.5, x < 0.0977
  k_edge
};
inline constexpr int i_regimes = i_edge + 1, k_regimes = k_edge + 1;

// Near v = 0 the slope of log I in the order is left to edges.hpp, up to here: K_0/I_0 underflows beyond.
inline constexpr double small_order_end = 373;
TELAMON_HD TELAMON_INLINE bool is_small_order(double v, double x) noexcept {
  return (v >= 0) & (v < 0.5) & (x >= i_corner_end) & (x < small_order_end);
}

// float32: tiers of Debye's series in single precision; everything else goes through double.
inline constexpr int float_tiers = 2, float_wide = float_tiers;
inline constexpr float float_bound[float_tiers] = {20, 10};
inline constexpr int float_rows[2][float_tiers] = {{5, 8}, {6, 10}};

// Squares and quotients stay in range inside these.
template <class T>
struct plain_range {
  static constexpr T largest = sizeof(T) == 8 ? T(1e150) : T(1e18), smallest = sizeof(T) == 8 ? T(1e-140) : T(1e-18);
};

template <class T>
TELAMON_HD TELAMON_INLINE bool is_edge(T v, T x) noexcept {
  constexpr T big = std::numeric_limits<T>::max();
  return !((v >= T(0)) & (v <= big) & (x > T(0)) & (x <= big));
}

TELAMON_HD TELAMON_INLINE int debye_tier(float w2) noexcept {
  struct bounds {  // a copy, since device code cannot refer to a namespace's array
    double at[tiers];
  };
  constexpr bounds w{{tier_bound[0], tier_bound[1], tier_bound[2], tier_bound[3]}};
  int r = 0;
  for (int k = 0; k < tiers - 1; ++k) r += w2 < float(w.at[k] * w.at[k]) ? 1 : 0;
  return r;
}

// The regime in the plain range, from w^2 and x rounded to single precision.
template <kind Kind>
TELAMON_HD TELAMON_INLINE int plain_regime(float w2, float x) noexcept {
  const int r = debye_tier(w2);
  int near;
  if constexpr (Kind == kind::i) {
    constexpr float lo = float(i_corner_end * i_corner_end);
    near = i_panel_3 - (w2 < 64 * lo) - (w2 < 16 * lo) - (w2 < 4 * lo);
    near = w2 < lo ? int(i_corner) : near;
  } else {
    constexpr float lo = float(k_corner_end);
    near = k_near_0 + (x >= 2 * lo) + (x >= 4 * lo) + (x >= 8 * lo) + (x >= 16 * lo) + (x >= 32 * lo) + (x >= 64 * lo);
    near = x < lo ? int(k_corner) : near;
    near = w2 < float(w_far * w_far) ? near : int(k_far);
  }
  return w2 >= float(w_end * w_end) ? r : near;
}

// The regime by single-precision comparisons alone, which vectorise well, for sorting arrays; or `unsorted`, where it
// takes classify to tell. Both compare the same rounded numbers, so that a point's regime does not depend on the route.
inline constexpr int unsorted = 255;

template <kind Kind>
TELAMON_HD TELAMON_INLINE int sort(double v, double x) noexcept {
  const float fv = float(v), fx = float(x);
  const bool plain = (std::int32_t(num::to_bits(fv)) >= 0) & (fv < 1e18f) & (fx < 1e18f) & (fx > 1e-18f);
  const int r = plain_regime<Kind>(fv * fv + fx * fx, fx);
  return plain ? r : unsorted;
}

template <kind Kind>
TELAMON_HD TELAMON_INLINE int classify(double v, double x) noexcept {
  if (is_edge(v, x)) return Kind == kind::i ? int(i_edge) : int(k_edge);
  if (num::max(v, x) >= plain_range<double>::largest) return extreme;
  const float fv = float(num::min(v, 1e30)), fx = float(num::min(x, 1e30)), w2 = fv * fv + fx * fx;
  if (w2 >= float(w_end * w_end) && !(x > plain_range<double>::smallest)) return extreme;
  return plain_regime<Kind>(w2, fx);
}

TELAMON_HD TELAMON_INLINE int classify_float(float v, float x) noexcept {
  const float w2 = v * v + x * x;
  int r = 0;
  for (int k = 0; k < float_tiers; ++k) r += w2 < float_bound[k] * float_bound[k] ? 1 : 0;
  const bool plain = (v >= 0.0f) & (num::max(v, x) < plain_range<float>::largest) & (x > plain_range<float>::smallest);
  return plain ? r : int(float_wide);
}

}  // namespace telamon::special::detail
