// Evaluation of the polynomial tables of tables.hpp: f(s, t) = sum_i s^i row_i(t), with the partial derivatives that
// Order asks for. Horner's scheme, unrolled at compile time, so that a loop over (s, t) vectorises.
#pragma once

#include <telamon/core/numeric.hpp>

namespace telamon::special::detail {

// Order 0 fills f, order 1 the first and order 2 the second derivatives as well.
template <class T>
struct partials {
  T f, s, t, ss, st, tt;
};

template <class Table>
TELAMON_HD constexpr int row_begin(int row) noexcept {
  int offset = 0;
  for (int i = 0; i < row; ++i) offset += Table::width[i];
  return offset;
}

template <class A, class Table, int Index, int End, int Order, class T>
TELAMON_HD TELAMON_INLINE void horner(T t, T& f, T& d, T& h) noexcept {
  if constexpr (Index >= End) {
    constexpr double c = Table::c[Index];
    if constexpr (Order >= 2) h = num::mad<A>(h, t, d);
    if constexpr (Order >= 1) d = num::mad<A>(d, t, f);
    f = num::mad<A>(f, t, T(c));
    horner<A, Table, Index - 1, End, Order>(t, f, d, h);
  }
}

// f, f' and f''/2 of one row
template <class A, class Table, int Row, int Order, class T>
TELAMON_HD TELAMON_INLINE void evaluate_row(T t, T& f, T& d, T& h) noexcept {
  constexpr int begin = row_begin<Table>(Row), last = begin + Table::width[Row] - 1;
  constexpr double c = Table::c[last];
  f = T(c);
  d = h = T(0);
  horner<A, Table, last - 1, begin, Order>(t, f, d, h);
}

template <class A, class Table, int Row, int End, int Order, class T>
TELAMON_HD TELAMON_INLINE void accumulate_rows(T s, T t, partials<T>& p) noexcept {
  if constexpr (Row >= End) {
    T f, d, h;
    evaluate_row<A, Table, Row, Order>(t, f, d, h);
    if constexpr (Order >= 2) {
      p.ss = num::mad<A>(p.ss, s, p.s);
      p.st = num::mad<A>(p.st, s, p.t);
      p.tt = num::mad<A>(p.tt, s, h);
    }
    if constexpr (Order >= 1) {
      p.s = num::mad<A>(p.s, s, p.f);
      p.t = num::mad<A>(p.t, s, d);
    }
    p.f = num::mad<A>(p.f, s, f);
    accumulate_rows<A, Table, Row - 1, End, Order>(s, t, p);
  }
}

// The first Rows rows of the table at (s, t).
template <class A, class Table, int Order = 0, int Rows = Table::rows, class T>
TELAMON_HD TELAMON_INLINE partials<T> evaluate(T s, T t) noexcept {
  partials<T> p{};
  T h;
  evaluate_row<A, Table, Rows - 1, Order>(t, p.f, p.t, h);
  p.tt = h;
  accumulate_rows<A, Table, Rows - 2, 0, Order>(s, t, p);
  p.ss *= T(2);
  p.tt *= T(2);
  return p;
}

// A table whose variables were scaled to [-1, 1] from [s_lo, s_hi] and [t_lo, t_hi].
template <class A, class Table, int Order = 0, class T>
TELAMON_HD TELAMON_INLINE partials<T> evaluate_on(T s, T t) noexcept {
  constexpr double s_scale = 2 / (Table::s_hi - Table::s_lo), s_mid = (Table::s_hi + Table::s_lo) / 2;
  constexpr double t_scale = 2 / (Table::t_hi - Table::t_lo), t_mid = (Table::t_hi + Table::t_lo) / 2;
  const T ks = T(s_scale), kt = T(t_scale);
  partials<T> p = evaluate<A, Table, Order>((s - T(s_mid)) * ks, (t - T(t_mid)) * kt);
  if constexpr (Order >= 1) p.s *= ks, p.t *= kt;
  if constexpr (Order >= 2) p.ss *= ks * ks, p.st *= ks * kt, p.tt *= kt * kt;
  return p;
}

// The same value with the rounding of its last two steps kept, for where the logarithm is near 0.
template <class A, class Table, class T>
TELAMON_HD TELAMON_INLINE num::dd<T> evaluate_exactly_on(T s, T t) noexcept {
  constexpr double s_scale = 2 / (Table::s_hi - Table::s_lo), s_mid = (Table::s_hi + Table::s_lo) / 2;
  constexpr double t_scale = 2 / (Table::t_hi - Table::t_lo), t_mid = (Table::t_hi + Table::t_lo) / 2;
  constexpr int last = Table::width[0] - 1;
  constexpr double c_last = Table::c[last], c_0 = Table::c[0];
  s = (s - T(s_mid)) * T(s_scale), t = (t - T(t_mid)) * T(t_scale);
  T row = T(c_last), unused = T(0), h = T(0);
  horner<A, Table, last - 1, 1, 0>(t, row, unused, h);
  partials<T> p{};
  evaluate_row<A, Table, Table::rows - 1, 0>(t, p.f, p.t, h);
  accumulate_rows<A, Table, Table::rows - 2, 1, 0>(s, t, p);
  const num::dd<T> a = num::two_prod<A>(row, t), b = num::two_sum(T(c_0), a.hi);
  const num::dd<T> c = num::two_prod<A>(p.f, s), d = num::two_sum(b.hi, c.hi);
  return {d.hi, (b.lo + a.lo) + (d.lo + c.lo)};
}

// A value with its derivatives in one variable, the order v: f, f', f''.
template <class T, int Order>
struct jet {
  T f, d, h;

  TELAMON_HD TELAMON_INLINE constexpr jet(T value = T(0), T slope = T(0), T curve = T(0)) noexcept
      : f(value), d(slope), h(curve) {}

  TELAMON_HD TELAMON_INLINE friend jet operator+(jet a, jet b) noexcept { return {a.f + b.f, a.d + b.d, a.h + b.h}; }
  TELAMON_HD TELAMON_INLINE friend jet operator-(jet a, jet b) noexcept { return {a.f - b.f, a.d - b.d, a.h - b.h}; }
  TELAMON_HD TELAMON_INLINE friend jet operator*(jet a, T b) noexcept { return {a.f * b, a.d * b, a.h * b}; }
  TELAMON_HD TELAMON_INLINE friend jet operator*(jet a, jet b) noexcept {
    jet r{a.f * b.f};
    if constexpr (Order >= 1) r.d = a.d * b.f + a.f * b.d;
    if constexpr (Order >= 2) r.h = a.h * b.f + T(2) * (a.d * b.d) + a.f * b.h;
    return r;
  }
  TELAMON_HD TELAMON_INLINE friend jet operator/(jet a, jet b) noexcept {
    T inv = T(1) / b.f;
    jet r{a.f * inv};
    if constexpr (Order >= 1) r.d = (a.d - r.f * b.d) * inv;
    if constexpr (Order >= 2) r.h = (a.h - T(2) * (r.d * b.d) - r.f * b.h) * inv;
    return r;
  }
};

// g(a) for a scalar function with the values g, g', g'' at a.f
template <int Order, class T>
TELAMON_HD TELAMON_INLINE jet<T, Order> chain(jet<T, Order> a, T g, T g1, T g2) noexcept {
  jet<T, Order> r{g};
  if constexpr (Order >= 1) r.d = g1 * a.d;
  if constexpr (Order >= 2) r.h = g2 * (a.d * a.d) + g1 * a.h;
  return r;
}
// log(a), value excluded
template <int Order, class T>
TELAMON_HD TELAMON_INLINE jet<T, Order> log_slopes(jet<T, Order> a) noexcept {
  jet<T, Order> r;
  if constexpr (Order >= 1) r.d = a.d / a.f;
  if constexpr (Order >= 2) r.h = a.h / a.f - r.d * r.d;
  return r;
}

}  // namespace telamon::special::detail
