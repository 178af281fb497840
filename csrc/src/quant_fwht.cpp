// The Walsh-Hadamard transform: stages within vectors, then two stages a pass; of rows that exceed the first level of
// cache, pieces that fit first.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/quant.hpp>

#include "multiversion.hpp"
#include "simd.hpp"

#include <cstddef>

namespace telamon::quant {
namespace {

// Butterflies of distance h and 2 h on n numbers, n a multiple of 4 h.
template <class T>
TELAMON_INLINE void two_stages(T* x, std::size_t n, std::size_t h) {
  for (std::size_t i = 0; i < n; i += 4 * h) {
    T* const a = x + i;
    TELAMON_SIMD
    for (std::size_t j = 0; j < h; ++j) {
      const T p = a[j] + a[j + h], q = a[j] - a[j + h], r = a[j + 2 * h] + a[j + 3 * h],
              s = a[j + 2 * h] - a[j + 3 * h];
      a[j] = p + r, a[j + h] = q + s, a[j + 2 * h] = p - r, a[j + 3 * h] = q - s;
    }
  }
}
template <class T>
TELAMON_INLINE void one_stage(T* x, std::size_t n, std::size_t h) {
  for (std::size_t i = 0; i < n; i += 2 * h) {
    TELAMON_SIMD
    for (std::size_t j = i; j < i + h; ++j) {
      const T p = x[j], q = x[j + h];
      x[j] = p + q, x[j + h] = p - q;
    }
  }
}
// The stages within a vector of lanes: v, with the sign of each lane, plus its mirror image.
TELAMON_INLINE simd::vector<float> stages_in_lanes(simd::vector<float> v) {
  using V = simd::vector<float>;
  v = __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6) + V{1, -1, 1, -1, 1, -1, 1, -1} * v;
  v = __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5) + V{1, 1, -1, -1, 1, 1, -1, -1} * v;
  return __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3) + V{1, 1, 1, 1, -1, -1, -1, -1} * v;
}
TELAMON_INLINE simd::vector<double> stages_in_lanes(simd::vector<double> v) {
  using V = simd::vector<double>;
  v = __builtin_shufflevector(v, v, 1, 0, 3, 2) + V{1, -1, 1, -1} * v;
  return __builtin_shufflevector(v, v, 2, 3, 0, 1) + V{1, 1, -1, -1} * v;
}

// All stages from distance `from` on below `size`, on each piece of that size.
template <class T>
TELAMON_INLINE void stages(T* x, std::size_t n, std::size_t from, std::size_t size) {
  std::size_t h = from;
  constexpr std::size_t count = simd::lanes<T>::count;
  if (h == 1 && size >= count) {
    for (std::size_t i = 0; i < n; i += count) simd::store<T>(stages_in_lanes(simd::load(x + i)), x + i);
    h = count;
  }
  for (; 4 * h <= size; h *= 4) two_stages(x, n, h);
  if (h < size) one_stage(x, n, h);
}

TELAMON_MULTIVERSION_TEMPLATE(transform, (class T), (T * x, std::size_t n, T scale), {
  const std::size_t piece = std::size_t(16384) / sizeof(T);  // half of the first level
  if (n <= piece) {
    stages(x, n, 1, n);
  } else {
    for (std::size_t i = 0; i < n; i += piece) stages(x + i, piece, 1, piece);
    stages(x, n, piece, n);
  }
  if (scale != T(1)) {
    TELAMON_SIMD
    for (std::size_t i = 0; i < n; ++i) x[i] *= scale;
  }
})

template <class T>
void any_fwht(T* x, std::size_t rows, std::size_t n, T scale) {
  require(n > 0 && (n & (n - 1)) == 0, "quant.fwht: n is ", n, "; pass a power of 2");
  parallel_for(rows, 50000 / n + 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) transform<T>::run(x + r * n, n, scale);
  });
}

}  // namespace

void fwht(float* x, std::size_t rows, std::size_t n, float scale) { any_fwht(x, rows, n, scale); }
void fwht(double* x, std::size_t rows, std::size_t n, double scale) { any_fwht(x, rows, n, scale); }

}  // namespace telamon::quant
