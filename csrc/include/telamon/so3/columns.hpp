// Products of one column, that is of one (sample, channel): what a thread of a GPU computes, or a block of threads
// together where the degrees are so high that the memory of a thread would not do. The arithmetic is that of
// product.hpp; here is the way from arrays to tiles and back. Compiled for the host too, where it is tested.
#pragma once

#include <telamon/so3.hpp>
#include <telamon/so3/product.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace telamon::so3::columns {

// What an array holds; one: nothing, each element is 1. Half types are computed in float, and exist on devices only.
enum class storage : int { f64, f32, f16, bf16, one };

// An array (samples, components, channels), steps in elements. The type is chosen at run time: beside the arithmetic it
// costs nothing, and each type would double the code.
struct array {
  void* data;
  std::ptrdiff_t sample, component, channel;
  storage type;
};

template <class T>
TELAMON_HD TELAMON_INLINE T load(const array& a, std::ptrdiff_t at) noexcept {
  if (a.type == storage::one) return T(1);
  if constexpr (sizeof(T) == 8) {
    return static_cast<const double*>(a.data)[at];
  } else {
#if defined(__CUDACC__)
    if (a.type == storage::f16) return __half2float(static_cast<const __half*>(a.data)[at]);
    if (a.type == storage::bf16) return __bfloat162float(static_cast<const __nv_bfloat16*>(a.data)[at]);
#endif
    return static_cast<const float*>(a.data)[at];
  }
}

template <class T>
TELAMON_HD TELAMON_INLINE void store(const array& a, std::ptrdiff_t at, T value) noexcept {
  if constexpr (sizeof(T) == 8) {
    static_cast<double*>(a.data)[at] = value;
  } else {
#if defined(__CUDACC__)
    if (a.type == storage::f16) {
      static_cast<__half*>(a.data)[at] = __float2half_rn(value);
      return;
    }
    if (a.type == storage::bf16) {
      static_cast<__nv_bfloat16*>(a.data)[at] = __float2bfloat16_rn(value);
      return;
    }
#endif
    static_cast<float*>(a.data)[at] = value;
  }
}

// ---- between arrays and the order of tiles

// Where the order m begins: in tables, which have one row for each (m, l), and in tiles, which have both parts.
TELAMON_HD constexpr int table_row(int lmax, int m) noexcept { return m * (lmax + 1) - m * (m - 1) / 2; }
TELAMON_HD constexpr int tile_entry(int lmax, int m) noexcept {
  return m == 0 ? 0 : 2 * table_row(lmax, m) - (lmax + 1);
}

struct column {
  std::size_t sample, channel;
};

template <class T>
TELAMON_HD TELAMON_INLINE T weight_of(const degree_weights<T>& w, std::size_t channel, int l) noexcept {
  return w.data == nullptr ? T(1) : w.data[l * w.degree + std::ptrdiff_t(channel) * w.channel];
}

// tile = weights times the coefficients of order m.
template <class T>
TELAMON_HD TELAMON_INLINE void gather_order(const array& a, const degree_weights<T>& w, column c, int lmax, int m,
                                            T* tile) noexcept {
  const std::ptrdiff_t start = std::ptrdiff_t(c.sample) * a.sample + std::ptrdiff_t(c.channel) * a.channel;
  for (int l = m; l <= lmax; ++l) {
    const T weight = weight_of(w, c.channel, l);
    *tile++ = weight * load<T>(a, start + (l * l + l + m) * a.component);
    if (m > 0) *tile++ = weight * load<T>(a, start + (l * l + l - m) * a.component);
  }
}
template <class T>
TELAMON_HD TELAMON_INLINE void gather(const array& a, const degree_weights<T>& w, column c, int lmax,
                                      T* tile) noexcept {
  for (int m = 0; m <= lmax; ++m) gather_order(a, w, c, lmax, m, tile + tile_entry(lmax, m));
}

// a = or += weights times the tile.
template <class T>
TELAMON_HD TELAMON_INLINE void scatter_order(const T* tile, int lmax, int m, const array& a, const degree_weights<T>& w,
                                             column c, bool accumulate) noexcept {
  const std::ptrdiff_t start = std::ptrdiff_t(c.sample) * a.sample + std::ptrdiff_t(c.channel) * a.channel;
  for (int l = m; l <= lmax; ++l) {
    const T weight = weight_of(w, c.channel, l);
    for (int part = 0; part < (m > 0 ? 2 : 1); ++part) {
      const std::ptrdiff_t at = start + (l * l + l + (part == 0 ? m : -m)) * a.component;
      const T value = weight * *tile++;
      store(a, at, accumulate ? load<T>(a, at) + value : value);
    }
  }
}
template <class T>
TELAMON_HD TELAMON_INLINE void scatter(const T* tile, int lmax, const array& a, const degree_weights<T>& w, column c,
                                       bool accumulate) noexcept {
  for (int m = 0; m <= lmax; ++m) scatter_order(tile + tile_entry(lmax, m), lmax, m, a, w, c, accumulate);
}

template <class T>
TELAMON_HD TELAMON_INLINE void clear(T* tile, int lmax) noexcept {
  for (int k = 0; k < components(lmax); ++k) tile[k] = T(0);
}

// ---- the product of two, one thread

template <class T>
struct product_plan {
  detail::product_tables<T> tables;
  array x, y, out, odd;
  degree_weights<T> x_weights, y_weights, out_weights;
  bool accumulate;
  std::size_t channels, count;  // of columns
};

template <class T>
TELAMON_HD TELAMON_INLINE column column_of(const T& plan, std::size_t index) noexcept {
  if (plan.count <= 0xffffffff) {  // devices divide 64 bits by a subroutine
    const auto i = std::uint32_t(index), channels = std::uint32_t(plan.channels);
    return {i / channels, i % channels};
  }
  return {index / plan.channels, index % plan.channels};
}

TELAMON_HD constexpr std::ptrdiff_t product_memory(kind which, int l1, int l2, int l3) noexcept {
  return components(l1) + components(l2) + (which == kind::complete ? 2 : 1) * components(l3) +
         detail::product_scratch(which, l1, l2, l3, 1);
}

template <kind Which, class T>
TELAMON_HD TELAMON_INLINE void product(const product_plan<T>& plan, column at, T* memory) noexcept {
  constexpr bool pair = Which == kind::complete;
  const int l1 = plan.tables.x.lmax, l2 = plan.tables.y.lmax, l3 = plan.tables.z.lmax;
  T *x = memory, *y = x + components(l1), *z = y + components(l2), *rest = z + components(l3), *odd = nullptr;
  if constexpr (pair) odd = rest, rest += components(l3);
  gather(plan.x, plan.x_weights, at, l1, x);
  gather(plan.y, plan.y_weights, at, l2, y);
  clear(z, l3);
  if constexpr (pair) clear(odd, l3);
  detail::product_tile<Which, 1>(plan.tables, x, y, z, odd, rest);
  scatter(z, l3, plan.out, plan.out_weights, at, plan.accumulate);
  if constexpr (pair) scatter(odd, l3, plan.odd, plan.out_weights, at, plan.accumulate);
}

// ---- edges, one thread for each (receiver, channel): the messages are added in the order of the edges

template <class T>
struct conv_plan {
  detail::product_tables<T> tables;
  array x, w, out;                              // (nodes, ...), (edges, l2 + 1, channels), (receivers or edges, ...)
  const T* harmonics;                           // (edges, components(l2))
  const std::int64_t *senders, *order, *start;  // the edges of receiver r: order[start[r]], ..., where there are any
  std::size_t nodes, channels, count;
};

TELAMON_HD constexpr std::ptrdiff_t conv_memory(int l1, int l2, int l3) noexcept {
  return product_memory(kind::even, l1, l2, l3);
}

template <class T>
TELAMON_HD TELAMON_INLINE void conv(const conv_plan<T>& plan, column at, T* memory) noexcept {
  const int l1 = plan.tables.x.lmax, l2 = plan.tables.y.lmax, l3 = plan.tables.z.lmax;
  T *x = memory, *y = x + components(l1), *z = y + components(l2), *rest = z + components(l3);
  const std::size_t first = plan.start ? std::size_t(plan.start[at.sample]) : at.sample;
  const std::size_t last = plan.start ? std::size_t(plan.start[at.sample + 1]) : at.sample + 1;
  clear(z, l3);
  for (std::size_t n = first; n < last; ++n) {
    const std::size_t edge = plan.start ? std::size_t(plan.order[n]) : n;
    const std::size_t node = plan.senders ? std::size_t(plan.senders[edge]) : edge;
    if (node >= plan.nodes) {  // nobody looked: that would mean to wait for the device
      for (int k = 0; k < components(l3); ++k) z[k] = std::numeric_limits<T>::quiet_NaN();
      continue;
    }
    gather(plan.x, degree_weights<T>{}, {node, at.channel}, l1, x);
    const T* const harmonics = plan.harmonics + edge * std::size_t(components(l2));
    const std::ptrdiff_t weights = std::ptrdiff_t(edge) * plan.w.sample + std::ptrdiff_t(at.channel) * plan.w.channel;
    T* to = y;
    for (int m = 0; m <= l2; ++m) {
      for (int l = m; l <= l2; ++l) {
        const T weight = load<T>(plan.w, weights + l * plan.w.component);
        *to++ = weight * harmonics[l * l + l + m];
        if (m > 0) *to++ = weight * harmonics[l * l + l - m];
      }
    }
    detail::product_tile<kind::even, 1>(plan.tables, x, y, z, static_cast<T*>(nullptr), rest);
  }
  scatter(z, l3, plan.out, degree_weights<T>{}, at, false);
}

// ---- products of several, one thread

inline constexpr int max_factors = 16;

template <class T>
struct monomial_plan {
  int factors, total;  // total: the sum of all degrees times their powers
  int powers[max_factors];
  detail::parallels<T> tables[max_factors], out_table;
  array x[max_factors], out;
  bool accumulate;
  std::size_t channels, count;
};

template <class T>
std::ptrdiff_t monomial_memory(const monomial_plan<T>& plan) noexcept {
  const int lmax = plan.out_table.lmax;
  std::ptrdiff_t size = components(lmax) + detail::monomial_scratch(plan.total, plan.factors, lmax, 1);
  for (int k = 0; k < plan.factors; ++k) size += components(plan.tables[k].lmax);
  return size;
}

template <class T>
TELAMON_HD TELAMON_INLINE void monomial(const monomial_plan<T>& plan, column at, T* memory) noexcept {
  detail::monomial_factor<T> factors[max_factors];
  const int lmax = plan.out_table.lmax;
  for (int k = 0; k < plan.factors; ++k) {
    gather(plan.x[k], degree_weights<T>{}, at, plan.tables[k].lmax, memory);
    factors[k] = {memory, plan.powers[k]};
    memory += components(plan.tables[k].lmax);
  }
  clear(memory, lmax);
  detail::monomial_tile<1>(plan.tables, factors, plan.factors, plan.out_table, plan.total, memory,
                           memory + components(lmax));
  scatter(memory, lmax, plan.out, degree_weights<T>{}, at, plan.accumulate);
}

}  // namespace telamon::so3::columns
