// Symmetric eigenproblems: LAPACK's, and for Toeplitz matrices two of half the size.
#include <telamon/kron.hpp>

#include "blas.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

namespace telamon::kron {
namespace {

template <class T>
void any_eigh(std::size_t n, const T* a, T* w, T* q) {
  if (q != a) std::copy_n(a, n * n, q);
  blas::eigh(n, q, w);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) std::swap(q[i * n + j], q[j * n + i]);
  }
}

// On even vectors (v, J v)/sqrt 2 the matrix acts as t[|i - j|] + t[n - 1 - i - j], on odd ones (v, -J v)/sqrt 2 with a
// minus, i and j in the first half; J turns a vector around. An odd n has a middle, which belongs to the even ones.
template <class T>
void any_toeplitz(std::size_t n, const T* t, T* w, T* q) {
  if (n == 0) return;
  const std::size_t half = n / 2, even = n - half;
  const T root2 = std::sqrt(T(2)), root_half = std::sqrt(T(0.5));
  std::vector<T> a(even * even), b(half * half), values(n);
  for (std::size_t i = 0; i < even; ++i) {
    for (std::size_t j = 0; j < even; ++j) {
      const T near = t[i > j ? i - j : j - i];
      if (i < half && j < half) {
        const T far = t[n - 1 - i - j];
        a[i * even + j] = near + far, b[i * half + j] = near - far;
      } else {
        a[i * even + j] = i == j ? near : root2 * near;
      }
    }
  }
  blas::eigh(even, a.data(), values.data());
  blas::eigh(half, b.data(), values.data() + even);

  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) { return values[i] < values[j]; });
  std::vector<std::size_t> place(n);  // the column of q that eigenvector i becomes
  for (std::size_t k = 0; k < n; ++k) w[k] = values[order[k]], place[order[k]] = k;
  for (std::size_t i = 0; i < half; ++i) {
    T* const top = q + i * n;
    T* const bottom = q + (n - 1 - i) * n;
    for (std::size_t k = 0; k < even; ++k) top[place[k]] = bottom[place[k]] = root_half * a[k * even + i];
    for (std::size_t k = 0; k < half; ++k) {
      const T v = root_half * b[k * half + i];
      top[place[even + k]] = v, bottom[place[even + k]] = -v;
    }
  }
  if (even > half) {
    for (std::size_t k = 0; k < even; ++k) q[half * n + place[k]] = a[k * even + half];
    for (std::size_t k = 0; k < half; ++k) q[half * n + place[even + k]] = T(0);
  }
}

}  // namespace

void eigh(std::size_t n, const float* a, float* w, float* q) { any_eigh(n, a, w, q); }
void eigh(std::size_t n, const double* a, double* w, double* q) { any_eigh(n, a, w, q); }
void eigh_toeplitz(std::size_t n, const float* column, float* w, float* q) { any_toeplitz(n, column, w, q); }
void eigh_toeplitz(std::size_t n, const double* column, double* w, double* q) { any_toeplitz(n, column, w, q); }

}  // namespace telamon::kron
