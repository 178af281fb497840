// Covariance matrices of processes in state space, K_ij = h' A_i ... A_{j+1} P h for i >= j: products, factorisation
// K + diag(noise) = L D L' with L_ij = h' A_i ... A_{j+1} w_j below the diagonal (the Kalman filter), and solves.
// V is T, or a vector of them, one a right-hand side. O(n m^2) each. x and out may be one array.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/numeric.hpp>

#include <cstddef>

namespace telamon::kron::detail {

inline constexpr int max_states = 8;

template <class T>
struct process {
  int points, states;
  const T *transitions, *covariance, *measurement;
};

// to = A (from + gain x), or A' of it.
template <bool Transposed, class T, class V>
TELAMON_HD TELAMON_INLINE void step(const T* a, int m, const T* gain, V x, V* state) noexcept {
  V sum[max_states];
  for (int i = 0; i < m; ++i) sum[i] = state[i] + gain[i] * x;
  for (int i = 0; i < m; ++i) {
    state[i] = V{};
    for (int j = 0; j < m; ++j) state[i] += a[Transposed ? j * m + i : i * m + j] * sum[j];
  }
}
template <class T, class V>
TELAMON_HD TELAMON_INLINE V dot(const T* a, const V* state, int m) noexcept {
  V sum{};
  for (int i = 0; i < m; ++i) sum += a[i] * state[i];
  return sum;
}

// gain = P h, the covariance of the state with the observation; returns h' P h.
template <class T>
TELAMON_HD TELAMON_INLINE T observation_gain(const process<T>& k, T* gain) noexcept {
  const int m = k.states;
  for (int i = 0; i < m; ++i) gain[i] = dot(k.covariance + i * m, k.measurement, m);
  return dot(k.measurement, static_cast<const T*>(gain), m);
}

// memory: one V a point.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void multiply(const process<T>& k, const V* x, V* out, V* memory) noexcept {
  const int n = k.points, m = k.states;
  T gain[max_states];
  const T variance = observation_gain(k, gain);
  V state[max_states] = {};
  for (int i = 0; i < n; ++i) {
    if (i > 0) step<false>(k.transitions + std::ptrdiff_t(i) * m * m, m, gain, x[i - 1], state);
    memory[i] = variance * x[i] + dot(k.measurement, state, m);
  }
  for (int i = 0; i < m; ++i) state[i] = V{};
  for (int i = n - 1; i >= 0; --i) {
    const V value = x[i];
    out[i] = memory[i] + dot(gain, state, m);
    if (i > 0) step<true>(k.transitions + std::ptrdiff_t(i) * m * m, m, k.measurement, value, state);
  }
}

template <class T>
TELAMON_HD TELAMON_INLINE void factor(const process<T>& k, const T* noise, T* d, T* w) noexcept {
  const int n = k.points, m = k.states;
  T gain[max_states], s[max_states * max_states] = {}, product[max_states * max_states];
  observation_gain(k, gain);
  for (int i = 0; i < n; ++i) {
    T* const wi = w + std::ptrdiff_t(i) * m;
    if (i > 0) {  // s = A (s + d w w') A'
      const T* const a = k.transitions + std::ptrdiff_t(i) * m * m;
      const T* const before = wi - m;
      for (int p = 0; p < m; ++p) {
        for (int q = 0; q < m; ++q) s[p * m + q] += d[i - 1] * before[p] * before[q];
      }
      for (int p = 0; p < m; ++p) {
        for (int q = 0; q < m; ++q) {
          T sum = 0;
          for (int r = 0; r < m; ++r) sum += a[p * m + r] * s[r * m + q];
          product[p * m + q] = sum;
        }
      }
      for (int p = 0; p < m; ++p) {
        for (int q = 0; q < m; ++q) s[p * m + q] = dot(a + q * m, static_cast<const T*>(product) + p * m, m);
      }
    }
    T known = 0;
    for (int p = 0; p < m; ++p) {
      wi[p] = gain[p] - dot(static_cast<const T*>(s) + p * m, k.measurement, m);
      known += k.measurement[p] * wi[p];
    }
    d[i] = known + noise[i];
    for (int p = 0; p < m; ++p) wi[p] /= d[i];
  }
}

// out = L^-1 x, or L D^{1/2} x where Draw.
template <bool Draw, class T, class V>
TELAMON_HD TELAMON_INLINE void forward(const process<T>& k, const T* d, const T* w, const V* x, V* out) noexcept {
  const int m = k.states;
  V state[max_states] = {}, last{};
  for (int i = 0; i < k.points; ++i) {
    if (i > 0) step<false>(k.transitions + std::ptrdiff_t(i) * m * m, m, w + std::ptrdiff_t(i - 1) * m, last, state);
    const V known = dot(k.measurement, state, m);
    if constexpr (Draw) {
      last = num::sqrt(d[i]) * x[i];
      out[i] = last + known;
    } else {
      last = out[i] = x[i] - known;
    }
  }
}

// out = L^-T D^-1 out.
template <class T, class V>
TELAMON_HD TELAMON_INLINE void backward(const process<T>& k, const T* d, const T* w, V* out) noexcept {
  const int m = k.states;
  V state[max_states] = {};
  for (int i = k.points - 1; i >= 0; --i) {
    out[i] = out[i] / d[i] - dot(w + std::ptrdiff_t(i) * m, static_cast<const V*>(state), m);
    if (i > 0) step<true>(k.transitions + std::ptrdiff_t(i) * m * m, m, k.measurement, out[i], state);
  }
}

}  // namespace telamon::kron::detail
