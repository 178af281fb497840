// Spherical harmonics, Wigner matrices and rotations on NVIDIA GPUs, from the templates that the host runs too. The C
// functions are like those of launch.cuh: device pointers to contiguous arrays and a stream, no waiting, a cudaError_t
// as int. What a block needs of shared memory grows with the degree; cudaErrorInvalidValue says that it is too much: on
// an H100 beyond degree 168 for harmonics in double, 58 for matrices (82 in single precision). Harmonics in single
// precision end at 100, where numbers on the way would overflow.
#include <telamon/core/config.hpp>
#include <telamon/so3/harmonics.hpp>
#include <telamon/so3/wigner.hpp>

#include "blocks.cuh"

#include <cstddef>

namespace telamon::so3 {
namespace {

using arch = native_arch;

extern __shared__ double shared_memory[];  // of a type that aligns for all

// ---- harmonics: a thread for each sample and order m, so that neighbours write neighbouring components. While l < m a
// thread multiplies up its power, so that all have work up to lmax.

template <class T, bool Unit>
__global__ void __launch_bounds__(256) harmonics(const T* r, T* out, int lmax, std::size_t samples) {
  const int entries = detail::triangular(lmax + 1, 0), orders = lmax + 1;
  T* const step = reinterpret_cast<T*>(shared_memory);
  T* const norm = step + entries;
  for (int l = 0; l <= lmax; ++l) {
    for (int m = int(threadIdx.x); m <= l; m += int(blockDim.x)) {
      step[detail::triangular(l, m)] = T(detail::harmonic_step(l, m));
      norm[detail::triangular(l, m)] = T(num::sqrt(detail::harmonic_norm_squared<double>(l, m)));
    }
  }
  __syncthreads();
  const int m = int(threadIdx.x) % orders, row = int(threadIdx.x) / orders, rows = int(blockDim.x) / orders;
  if (row >= rows) return;
  const std::size_t size = std::size_t(orders) * std::size_t(orders);
  for (std::size_t i = blockIdx.x * std::size_t(rows) + std::size_t(row); i < samples;
       i += gridDim.x * std::size_t(rows)) {
    detail::scaled_vector<T> u{r[3 * i], r[3 * i + 1], r[3 * i + 2], {T(1), T(0)}};
    if constexpr (Unit) u = detail::harmonic_scale<arch>(u.x, u.y, u.z);
    const T rho2 = num::mad<arch>(u.x, u.x, u.z * u.z);
    num::dd<T> power{T(1), T(0)};
    T c = 1, s = 0, q1 = 0, q2 = 0, d = 0;
    T* const to = out + i * size;
    for (int l = 0; l <= lmax; ++l) {
      if (Unit && l > 0) power = detail::harmonic_shrink<arch>(power, u.inverse);
      if (l < m) {
        detail::harmonic_turn<arch>(u.z, u.x, c, s);
      } else {
        const int entry = detail::triangular(l, m);
        const T q = l == m ? T(1) : detail::harmonic_advance<arch>(step[entry], u.y, rho2, q1, q2, d);
        q2 = q1, q1 = q;
        T value = norm[entry] * q;
        if constexpr (Unit) value *= power.hi + power.lo;
        to[l * (l + 1) + m] = value * c;
        if (m > 0) to[l * (l + 1) - m] = value * s;
      }
    }
  }
}

template <class T>
int launch_harmonics(const T* r, T* out, int lmax, int normalize, std::size_t samples, void* stream) {
  constexpr int threads = 256, most = sizeof(T) == 4 ? 100 : threads - 1;
  if (lmax < 0 || lmax > most) return cudaErrorInvalidValue;
  const auto rows = std::size_t(threads / (lmax + 1));
  const std::size_t shared = 2 * sizeof(T) * std::size_t(detail::triangular(lmax + 1, 0));
  return cuda::launch_blocks(normalize ? harmonics<T, true> : harmonics<T, false>, (samples + rows - 1) / rows, threads,
                             shared, stream, r, out, lmax, samples);
}

// ---- rotations: a block for each sample, its threads first for the entries of a degree's matrix, then for its rows
// times the channels.

template <class T>
struct matrices {
  T* r;  // 9
  T *before, *now;
  detail::wigner_terms<T>* terms;

  static std::size_t bytes(int lmax) {
    const auto size = 2 * std::size_t(lmax) + 1;
    return sizeof(T) * (10 + 2 * size * size) + sizeof(detail::wigner_terms<T>) * size;
  }

  __device__ explicit matrices(int lmax) {
    const int size = 2 * lmax + 1;
    r = reinterpret_cast<T*>(shared_memory);
    before = r + 10, now = before + size * size;
    terms = reinterpret_cast<detail::wigner_terms<T>*>(now + size * size);
  }

  // Degree 0, in `now`.
  __device__ void start(const T* rotation) {
    __syncthreads();
    if (threadIdx.x == 0) {
      T one[9];
      for (int k = 0; k < 9; ++k) one[k] = rotation[k];
      detail::orthogonalize<arch>(one);
      detail::orthogonalize<arch>(one);
      for (int k = 0; k < 9; ++k) r[k] = one[k];
      now[0] = T(1);
    }
    __syncthreads();
  }

  // Degree l from degree l - 1.
  __device__ void next(int l) {
    T* const spare = before;
    before = now, now = spare;
    const int size = 2 * l + 1, inner = 2 * l - 1, threads = int(blockDim.x);
    for (int m = int(threadIdx.x); m < size; m += threads) terms[m] = detail::make_wigner_terms<T>(l, m - l);
    __syncthreads();
    for (int entry = int(threadIdx.x); entry < size * size; entry += threads) {
      if (l == 1) {
        now[entry] = r[entry];
        continue;
      }
      const detail::wigner_terms<T>&row = terms[entry / size], &column = terms[entry % size];
      T sum = 0;
      for (int s = 0; s < detail::wigner_terms<T>::count; ++s) {
        T inside = 0;
        for (int t = 0; t < detail::wigner_terms<T>::count; ++t) {
          const T d = before[(row.a[t] + l - 1) * inner + column.a[s] + l - 1];
          inside = num::mad<arch>(row.c[t] * r[3 * (row.i[t] + 1) + column.i[s] + 1], d, inside);
        }
        sum = num::mad<arch>(column.c[s], inside, sum);
      }
      now[entry] = sum;
    }
    __syncthreads();
  }
};

template <class T>
__global__ void __launch_bounds__(256) wigner(const T* rotations, T* out, int l, std::size_t samples) {
  matrices<T> d(l);
  const int entries = (2 * l + 1) * (2 * l + 1);
  for (std::size_t i = blockIdx.x; i < samples; i += gridDim.x) {
    d.start(rotations + 9 * i);
    for (int k = 1; k <= l; ++k) d.next(k);
    for (int entry = int(threadIdx.x); entry < entries; entry += int(blockDim.x)) {
      out[i * std::size_t(entries) + std::size_t(entry)] = d.now[entry];
    }
  }
}

template <class T>
__global__ void __launch_bounds__(256) rotate(const T* rotations, const T* x, T* out, int lmax, int transposed,
                                              std::size_t samples, std::size_t channels) {
  matrices<T> d(lmax);
  const auto components = std::size_t(lmax + 1) * std::size_t(lmax + 1);
  for (std::size_t i = blockIdx.x; i < samples; i += gridDim.x) {
    d.start(rotations + 9 * i);
    for (int l = 0; l <= lmax; ++l) {
      if (l > 0) d.next(l);
      const int size = 2 * l + 1, along = transposed ? size : 1;
      const std::size_t block = (i * components + std::size_t(l) * std::size_t(l)) * channels;
      for (std::size_t k = threadIdx.x; k < std::size_t(size) * channels; k += blockDim.x) {
        const std::size_t c = k % channels;
        const T* row = d.now + int(k / channels) * (transposed ? 1 : size);
        T sum = 0;
        for (int n = 0; n < size; ++n)
          sum = num::mad<arch>(row[n * along], x[block + std::size_t(n) * channels + c], sum);
        out[block + k] = sum;
      }
    }
  }
}

template <class T>
int launch_wigner(const T* rotations, T* out, int l, std::size_t samples, void* stream) {
  if (l < 0) return cudaErrorInvalidValue;
  const int threads = l < 3 ? 32 : l < 6 ? 128 : 256;
  return cuda::launch_blocks(wigner<T>, samples, threads, matrices<T>::bytes(l), stream, rotations, out, l, samples);
}
template <class T>
int launch_rotate(const T* rotations, const T* x, T* out, int lmax, int transposed, std::size_t samples,
                  std::size_t channels, void* stream) {
  if (lmax < 0) return cudaErrorInvalidValue;
  if (channels == 0) return cudaSuccess;
  const int threads = lmax < 2 && channels <= 32 ? 64 : 256;
  return cuda::launch_blocks(rotate<T>, samples, threads, matrices<T>::bytes(lmax), stream, rotations, x, out, lmax,
                             transposed, samples, channels);
}

}  // namespace
}  // namespace telamon::so3

#define TELAMON_SO3_ENTRIES(T, suffix)                                                                                \
  extern "C" TELAMON_API int telamon_cuda_so3_harmonics_##suffix(const T* r, T* out, int lmax, int normalize,         \
                                                                 std::size_t samples, void* stream) {                 \
    return telamon::so3::launch_harmonics(r, out, lmax, normalize, samples, stream);                                  \
  }                                                                                                                   \
  extern "C" TELAMON_API int telamon_cuda_so3_wigner_##suffix(const T* rotations, T* out, int l, std::size_t samples, \
                                                              void* stream) {                                         \
    return telamon::so3::launch_wigner(rotations, out, l, samples, stream);                                           \
  }                                                                                                                   \
  extern "C" TELAMON_API int telamon_cuda_so3_rotate_##suffix(const T* rotations, const T* x, T* out, int lmax,       \
                                                              int transposed, std::size_t samples,                    \
                                                              std::size_t channels, void* stream) {                   \
    return telamon::so3::launch_rotate(rotations, x, out, lmax, transposed, samples, channels, stream);               \
  }
TELAMON_SO3_ENTRIES(double, f64)
TELAMON_SO3_ENTRIES(float, f32)
