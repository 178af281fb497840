// The product of two of equal degrees up to 4 for one column (see columns.hpp), straight from the nonzero coefficients:
// with degrees that the compiler knows, all coefficients are in registers.
#pragma once

#include <telamon/so3/columns.hpp>
#include <telamon/so3/sparse_kernels.hpp>

#include <type_traits>

#if defined(__CUDACC__)
#define TELAMON_UNROLL_ALL _Pragma("unroll")
#else
#define TELAMON_UNROLL_ALL
#endif

namespace telamon::so3::columns {

// The type is asked for once an array here, not once an element.
template <class Function>
TELAMON_HD TELAMON_INLINE void with_storage(const array& a, Function function) noexcept {
#if defined(__CUDACC__)
  if (a.type == storage::f16) return function(static_cast<__half*>(a.data));
  if (a.type == storage::bf16) return function(static_cast<__nv_bfloat16*>(a.data));
#endif
  if (a.type == storage::f64) return function(static_cast<double*>(a.data));
  function(static_cast<float*>(a.data));
}

TELAMON_HD constexpr int degree_of(int k) noexcept {
  int l = 0;
  while ((l + 1) * (l + 1) <= k) ++l;
  return l;
}

template <int L, class T>
TELAMON_HD TELAMON_INLINE void read(const array& a, const degree_weights<T>& w, column c,
                                    T (&x)[components(L)]) noexcept {
  const std::ptrdiff_t start = std::ptrdiff_t(c.sample) * a.sample + std::ptrdiff_t(c.channel) * a.channel;
  with_storage(a, [&](auto* data) {
    TELAMON_UNROLL_ALL
    for (int k = 0; k < components(L); ++k) x[k] = T(data[start + k * a.component]);
  });
  if (w.data == nullptr) return;
  TELAMON_UNROLL_ALL
  for (int k = 0; k < components(L); ++k) x[k] *= weight_of(w, c.channel, degree_of(k));
}

template <int L, class T>
TELAMON_HD TELAMON_INLINE void write(T (&z)[components(L)], const array& a, const degree_weights<T>& w, column c,
                                     bool accumulate) noexcept {
  const std::ptrdiff_t start = std::ptrdiff_t(c.sample) * a.sample + std::ptrdiff_t(c.channel) * a.channel;
  if (w.data != nullptr) {
    TELAMON_UNROLL_ALL
    for (int k = 0; k < components(L); ++k) z[k] *= weight_of(w, c.channel, degree_of(k));
  }
  with_storage(a, [&](auto* data) {
    using Stored = std::remove_pointer_t<decltype(data)>;
    if (accumulate) {
      TELAMON_UNROLL_ALL
      for (int k = 0; k < components(L); ++k) z[k] += T(data[start + k * a.component]);
    }
    TELAMON_UNROLL_ALL
    for (int k = 0; k < components(L); ++k) data[start + k * a.component] = Stored(z[k]);
  });
}

template <int L, bool Odd, class T>
TELAMON_HD TELAMON_INLINE void multiply(const T (&x)[components(L)], const T (&y)[components(L)],
                                        T (&z)[components(L)]) noexcept {
  detail::straight_product<L, Odd, T>([&](int k) { return x[k]; }, [&](int k) { return y[k]; },
                                      [&](int k, T value) { z[k] = value; });
}

template <kind Which, int L, class T>
TELAMON_HD TELAMON_INLINE void straight(const product_plan<T>& plan, column at) noexcept {
  T x[components(L)], y[components(L)], z[components(L)];
  read<L>(plan.x, plan.x_weights, at, x);
  read<L>(plan.y, plan.y_weights, at, y);
  if constexpr (Which == kind::sum) {
    T odd[components(L)];
    multiply<L, false>(x, y, z);
    multiply<L, true>(x, y, odd);
    TELAMON_UNROLL_ALL
    for (int k = 0; k < components(L); ++k) z[k] += odd[k];
    write<L>(z, plan.out, plan.out_weights, at, plan.accumulate);
    return;
  }
  if constexpr (Which != kind::odd) {
    multiply<L, false>(x, y, z);
    write<L>(z, plan.out, plan.out_weights, at, plan.accumulate);
  }
  if constexpr (Which != kind::even) {
    multiply<L, true>(x, y, z);
    write<L>(z, Which == kind::odd ? plan.out : plan.odd, plan.out_weights, at, plan.accumulate);
  }
}

#undef TELAMON_UNROLL_ALL

}  // namespace telamon::so3::columns
