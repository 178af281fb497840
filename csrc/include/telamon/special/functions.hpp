// The functions as regimes: `classify` names the regime of (v, x), `sort` does so for most of them in a loop that
// vectorises, `eval<A, R>` evaluates regime R. One element at a time: `evaluate<F>(v, x)`; the compiled library sorts
// blocks by regime instead and vectorises each.
#pragma once

#include <telamon/special/regimes.hpp>

#include <type_traits>

namespace telamon::special::detail {

// One copy of what is long; without it every kernel of the device would hold all regimes of all it calls.
#if defined(__CUDACC__)
#define TELAMON_NOINLINE __noinline__
#elif defined(__GNUC__)
#define TELAMON_NOINLINE __attribute__((noinline))
#else
#define TELAMON_NOINLINE
#endif

// Order 0: the value; 1: value, d/dv, d/dx; 2: d2/dv2, d2/dvdx, d2/dx2.
template <kind Kind, bool Scaled, int Order>
struct log_bessel;

template <class F, int R = 0>
TELAMON_HD auto evaluate_regime(int r, double v, double x) noexcept {
  if constexpr (R + 1 < F::regimes) {
    if (r != R) return evaluate_regime<F, R + 1>(r, v, x);
  }
  return F::template eval<native_arch, R>(v, x);
}
template <class F>
TELAMON_HD TELAMON_NOINLINE auto evaluate(double v, double x) noexcept {
  return evaluate_regime<F>(F::classify(v, x), v, x);
}

// edges.hpp: zeros, infinities, NaN, negative orders, and slopes at small orders
template <kind Kind, bool Scaled, int Order>
TELAMON_HD TELAMON_NOINLINE values<double, (Order == 0 ? 1 : 3)> edge(double v, double x) noexcept;

template <class A, int R, kind Kind, bool Scaled, int Order>
TELAMON_HD TELAMON_INLINE auto eval_debye(double v, double x) noexcept {
  constexpr int rows = tier_rows[Order][R < tiers ? R : tiers - 1];
  point<double> at;
  if constexpr (R == extreme)
    at = locate_extreme<A>(v, x);
  else
    at = locate<A>(v, x);
  if constexpr (Order == 0)
    return debye_value<A, Kind, Scaled, rows>(at);
  else if constexpr (Order == 1)
    return debye_grad<A, Kind, Scaled, rows>(at);
  else
    return debye_hess<A, Kind, rows>(at, x);
}

// The single-precision tiers: what every log_bessel<Kind, Scaled, Order> with Order < 2 has besides.
template <kind Kind, bool Scaled, int Order>
struct float_debye {
  static constexpr bool has_float = Order < 2;

  TELAMON_HD static TELAMON_INLINE int classify(float v, float x) noexcept {
    const int r = classify_float(v, x);
    return Order == 1 && Kind == kind::i && v < 0.5f ? int(float_wide) : r;  // the exponentially small slopes
  }
  TELAMON_HD static TELAMON_INLINE int sort(float v, float x) noexcept { return classify(v, x); }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE auto eval(float v, float x) noexcept {
    const point<float> at = locate<A>(v, x);
    if constexpr (Order == 0)
      return debye_value<A, Kind, Scaled, float_rows[0][R]>(at);
    else
      return debye_grad<A, Kind, Scaled, float_rows[1][R]>(at);
  }
};

// {value} or all three
template <int Order>
TELAMON_HD TELAMON_INLINE auto take(const values<double, 3>& r) noexcept {
  if constexpr (Order == 0)
    return values<double, 1>{{r.at[0]}};
  else
    return r;
}

template <bool Scaled, int Order>
struct log_bessel<kind::i, Scaled, Order> {
  using single = float_debye<kind::i, Scaled, Order>;
  static constexpr int outputs = Order == 0 ? 1 : 3, regimes = i_regimes, edge_regime = i_edge;

  TELAMON_HD static TELAMON_INLINE int classify(double v, double x) noexcept {
    int r = detail::classify<kind::i>(v, x);
    if constexpr (Order == 1) r = is_small_order(v, x) ? int(i_edge) : r;
    return r;
  }
  TELAMON_HD static TELAMON_INLINE int sort(double v, double x) noexcept {
    const int r = detail::sort<kind::i>(v, x);
    return Order == 1 && v < 0.5 ? unsorted : r;
  }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE values<double, outputs> eval(double v, double x) noexcept {
    if constexpr (R <= extreme) {
      return eval_debye<A, R, kind::i, Scaled, Order>(v, x);
    } else if constexpr (R <= i_panel_3) {
      if constexpr (Order == 0)
        return log_i_panel<A, Scaled, R - i_panel_0>(v, x);
      else if constexpr (Order == 1)
        return log_i_panel_grad<A, Scaled, R - i_panel_0>(v, x);
      else
        return log_i_panel_hess<A, R - i_panel_0>(v, x);
    } else if constexpr (R == i_corner) {
      return take<Order>(log_i_corner<A, Scaled, Order>(v, x));
    } else {
      return edge<kind::i, Scaled, Order>(v, x);
    }
  }
  TELAMON_HD static double dx_small_order(double v, double x) noexcept {
    return evaluate_regime<log_bessel>(detail::classify<kind::i>(v, x), v, x).at[2];
  }
};

template <bool Scaled, int Order>
struct log_bessel<kind::k, Scaled, Order> {
  using single = float_debye<kind::k, Scaled, Order>;
  static constexpr int outputs = Order == 0 ? 1 : 3, regimes = k_regimes, edge_regime = k_edge;

  TELAMON_HD static TELAMON_INLINE int classify(double v, double x) noexcept { return detail::classify<kind::k>(v, x); }
  TELAMON_HD static TELAMON_INLINE int sort(double v, double x) noexcept { return detail::sort<kind::k>(v, x); }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE values<double, outputs> eval(double v, double x) noexcept {
    if constexpr (R <= extreme)
      return eval_debye<A, R, kind::k, Scaled, Order>(v, x);
    else if constexpr (R == k_far)
      return take<Order>(log_k_far<A, Scaled, Order>(v, x));
    else if constexpr (R <= k_near_6)
      return take<Order>(log_k_near<A, Scaled, R - k_near_0, Order>(v, x));
    else if constexpr (R == k_corner)
      return take<Order>(log_k_corner<A, Scaled, Order>(v, x));
    else
      return edge<kind::k, Scaled, Order>(v, x);
  }
};

// A function and its scaled form in one kernel, since they differ in the last step only: value, scaled value; for
// Order 1 value, d/dv, d/dx, scaled value and its d/dx. What the two evaluations share the compiler computes once.
template <kind Kind, int Order>
struct paired_bessel {
  using plain = log_bessel<Kind, false, Order>;
  using scaled = log_bessel<Kind, true, Order>;
  static constexpr int outputs = Order == 0 ? 2 : 5, regimes = plain::regimes, edge_regime = plain::edge_regime;
  static constexpr bool small_orders = Kind == kind::i && Order == 1;  // among the edges, see edges.hpp
  // For the regimes where it pays to leave the other form out, those of Debye's series: the function that has all of
  // the outputs Which, from `first` on, or void.
  static constexpr int scaled_output = Order == 0 ? 1 : 3;
  template <int... Which>
  using only = std::conditional_t<((Which < scaled_output) && ...), plain,
                                  std::conditional_t<Order == 0 && ((Which >= scaled_output) && ...), scaled, void>>;

  template <class A, class B>
  TELAMON_HD static TELAMON_INLINE auto merge(const A& a, const B& b) noexcept {
    using T = std::decay_t<decltype(a.at[0])>;
    if constexpr (Order == 0)
      return values<T, 2>{{a.at[0], b.at[0]}};
    else
      return values<T, 5>{{a.at[0], a.at[1], a.at[2], b.at[0], b.at[2]}};
  }
  TELAMON_HD static TELAMON_INLINE int classify(double v, double x) noexcept { return plain::classify(v, x); }
  TELAMON_HD static TELAMON_INLINE int sort(double v, double x) noexcept { return plain::sort(v, x); }
  template <class A, int R>
  TELAMON_HD static TELAMON_INLINE auto eval(double v, double x) noexcept {
    return merge(plain::template eval<A, R>(v, x), scaled::template eval<A, R>(v, x));
  }
  struct single {
    static constexpr bool has_float = true;
    TELAMON_HD static TELAMON_INLINE int classify(float v, float x) noexcept { return plain::single::classify(v, x); }
    TELAMON_HD static TELAMON_INLINE int sort(float v, float x) noexcept { return plain::single::sort(v, x); }
    template <class A, int R>
    TELAMON_HD static TELAMON_INLINE auto eval(float v, float x) noexcept {
      return merge(plain::single::template eval<A, R>(v, x), scaled::single::template eval<A, R>(v, x));
    }
  };
};

}  // namespace telamon::special::detail

#include <telamon/special/edges.hpp>
