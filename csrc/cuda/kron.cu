// Products along the axes of grids, Gram matrices and eigenvectors on NVIDIA GPUs, by cuBLAS and cuSOLVER.
//
// A grid is a contiguous array seen as (left, n, right) around one of its axes. The C functions take device pointers
// and a stream, launch without waiting, and return 0, a cudaError_t, or a code of blas.cuh.
#include <telamon/core/config.hpp>

#include "blas.cuh"
#include "kron_axes.cuh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace telamon::kron {
namespace {

using cuda::gemm;
using cuda::operand;
using cuda::transposed;

constexpr std::int64_t whole(std::size_t n) { return static_cast<std::int64_t>(n); }

// ---- products

// out (left, m, right) = A x along the middle axis of x (left, n, right). Entry (i, j) of A is a[i row + j column],
// of which one step is 1. Read by columns, x is `left` matrices (right, n), and for right = 1 one matrix (n, left).
template <class T>
int multiply(const T* a, std::size_t m, std::size_t n, std::size_t row, std::size_t column, const T* x,
             std::size_t left, std::size_t right, T* out, void* stream) {
  if (m == 0 || n == 0) return cudaErrorInvalidValue;
  if (left == 0 || right == 0) return cudaSuccess;
  const bool by_rows = column == 1 || n == 1;
  if (!by_rows && row != 1 && m != 1) return cudaErrorInvalidValue;
  const std::int64_t leading = whole(by_rows ? (m == 1 ? n : row) : column);
  const operand<const T> matrix{a, leading};
  if (right == 1) {
    return gemm<T>(by_rows ? transposed::yes : transposed::no, transposed::no, whole(m), whole(left), whole(n), matrix,
                   {x, whole(n)}, T(0), {out, whole(m)}, 1, stream);
  }
  const std::int64_t step = whole(right);
  return gemm<T>(transposed::no, by_rows ? transposed::no : transposed::yes, step, whole(m), whole(n),
                 {x, step, whole(n) * step}, matrix, T(0), {out, step, whole(m) * step}, whole(left), stream);
}

// ---- Gram matrices: a sum over all entries but those along the axis is one matrix product, once these are in rows.

constexpr int tile = 32, tile_rows = 8;

// to (count, n): the rows x[l, :, r] of x (left, n, right) times the scale of (l, r), from row `first` on. By tiles, so
// that both arrays are read and written in whole lines.
template <class T>
__global__ void __launch_bounds__(tile* tile_rows)
    gather_rows(const T* x, std::size_t n, std::size_t right, const __grid_constant__ device::axes<T> scales,
                std::size_t first, std::size_t count, T* to) {
  __shared__ T memory[tile][tile + 1];
  const int lane = int(threadIdx.x) % tile, line = int(threadIdx.x) / tile;
  const std::size_t across = (n + tile - 1) / tile, tiles = across * ((count + tile - 1) / tile);
  for (std::size_t i = blockIdx.x; i < tiles; i += gridDim.x) {
    const std::size_t row = i / across * tile, column = i % across * tile;
    const std::size_t mine = row + std::size_t(lane);
    if (mine < count) {
      const std::size_t index = first + mine, l = index / right, r = index - l * right;
      const T scale = device::product_at<T>(scales, index);
      for (int k = line; k < tile; k += tile_rows) {
        const std::size_t j = column + std::size_t(k);
        if (j < n) memory[k][lane] = scale * x[(l * n + j) * right + r];
      }
    }
    __syncthreads();
    for (int k = line; k < tile; k += tile_rows) {
      const std::size_t to_row = row + std::size_t(k), j = column + std::size_t(lane);
      if (to_row < count && j < n) to[to_row * n + j] = memory[lane][k];
    }
    __syncthreads();
  }
}

// The same for right = 1, where the rows are there already.
template <class T>
__global__ void __launch_bounds__(256)
    scale_rows(const T* x, std::size_t n, const __grid_constant__ device::axes<T> scales, std::size_t first,
               std::size_t count, T* to) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count * n; i += stride) {
    to[i] = device::product_at<T>(scales, first + i / n) * x[first * n + i];
  }
}

template <class T>
int launch_gather(const T* x, std::size_t n, std::size_t right, const device::axes<T>& scales, std::size_t first,
                  std::size_t count, T* to, void* stream) {
  if (right == 1) {
    return device::launch(scale_rows<T>, (count * n + 255) / 256, 256, stream, x, n, scales, first, count, to);
  }
  const std::size_t tiles = ((n + tile - 1) / tile) * ((count + tile - 1) / tile);
  return device::launch(gather_rows<T>, tiles, tile * tile_rows, stream, x, n, right, scales, first, count, to);
}

// out (m, n) = sum over l, r of x[l, j, r] y[l, k, r] times the scale of (l, r). y null: x. scales: those of the axes
// (left, right) is made of, `scaled` if there are any. work holds work_size numbers, of which a row takes m + n.
template <class T>
int gram(const T* x, std::size_t m, const T* y, std::size_t n, std::size_t left, std::size_t right,
         const device::axes<T>& scales, bool scaled, T* work, std::size_t work_size, T* out, void* stream) {
  const std::size_t rows = left * right;
  if (m == 0 || n == 0 || rows == 0) return cudaErrorInvalidValue;
  const T* const second = y ? y : x;
  if (!scaled && right == 1) {
    return gemm<T>(transposed::no, transposed::yes, whole(n), whole(m), whole(rows), {second, whole(n)}, {x, whole(m)},
                   T(0), {out, whole(n)}, 1, stream);
  }
  if (!scaled && left == 1) {
    return gemm<T>(transposed::yes, transposed::no, whole(n), whole(m), whole(right), {second, whole(right)},
                   {x, whole(right)}, T(0), {out, whole(n)}, 1, stream);
  }
  const std::size_t most = std::min(rows, work_size / (m + n));
  if (most == 0) return cudaErrorInvalidValue;
  T* const x_rows = work;
  T* const y_rows = work + most * m;
  device::axes<T> ones;
  ones.add(rows, nullptr);
  for (std::size_t first = 0; first < rows; first += most) {
    const std::size_t count = std::min(most, rows - first);
    if (const int error = launch_gather(x, m, right, scales, first, count, x_rows, stream)) return error;
    const T* by = x_rows;
    if (right == 1) {
      by = second + first * n;
    } else if (y || scaled) {
      if (const int error = launch_gather(second, n, right, ones, first, count, y_rows, stream)) return error;
      by = y_rows;
    }
    if (const int error = gemm<T>(transposed::no, transposed::yes, whole(n), whole(m), whole(count), {by, whole(n)},
                                  {x_rows, whole(m)}, T(first != 0), {out, whole(n)}, 1, stream)) {
      return error;
    }
  }
  return cudaSuccess;
}

// sizes: of the axes before `axis`, it, and those behind; values: their scales, or null. One batch in front.
template <class T>
int any_gram(int d, const std::size_t* sizes, int axis, std::size_t batch, const T* x, const T* y, std::size_t n,
             const T* const* values, T* work, std::size_t work_size, T* out, void* stream) {
  if (d < 1 || d >= device::most_axes || axis < 0 || axis >= d) return cudaErrorInvalidValue;
  std::size_t left = batch, right = 1;
  device::axes<T> scales;
  scales.add(batch, nullptr);
  for (int i = 0; i < d; ++i) {
    if (i == axis) continue;
    (i < axis ? left : right) *= sizes[i];
    scales.add(sizes[i], values ? values[i] : nullptr);
  }
  return gram(x, sizes[axis], y, n, left, right, scales, values != nullptr, work, work_size, out, stream);
}

// ---- eigenvectors

// What did not converge has no eigenvalues: NaN tells, without waiting.
template <class T>
__global__ void __launch_bounds__(256) refuse(const int* info, T* w, std::size_t n) {
  if (*info == 0) return;
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    w[i] = std::numeric_limits<T>::quiet_NaN();
  }
}

template <class T>
int eigh(std::size_t n, T* a, T* w, int* info, void* device_work, std::size_t device_bytes, void* host_work,
         std::size_t host_bytes, void* stream) {
  if (device_work == nullptr) return cudaErrorInvalidValue;
  if (const int error = cuda::syevd(whole(n), a, w, info, device_work, device_bytes, host_work, host_bytes, stream)) {
    return error;
  }
  return device::launch(refuse<T>, (n + 255) / 256, 256, stream, info, w, n);
}

}  // namespace
}  // namespace telamon::kron

#define TELAMON_KRON_ENTRIES(T, suffix)                                                                               \
  extern "C" TELAMON_API int telamon_cuda_kron_axis_##suffix(                                                         \
      const T* a, std::size_t m, std::size_t n, std::size_t row, std::size_t column, const T* x, std::size_t left,    \
      std::size_t right, T* out, void* stream) {                                                                      \
    return telamon::kron::multiply(a, m, n, row, column, x, left, right, out, stream);                                \
  }                                                                                                                   \
  extern "C" TELAMON_API int telamon_cuda_kron_gram_##suffix(                                                         \
      int d, const std::size_t* sizes, int axis, std::size_t batch, const T* x, const T* y, std::size_t n,            \
      const T* const* values, T* work, std::size_t work_size, T* out, void* stream) {                                 \
    return telamon::kron::any_gram(d, sizes, axis, batch, x, y, n, values, work, work_size, out, stream);             \
  }                                                                                                                   \
  extern "C" TELAMON_API int telamon_cuda_kron_eigh_work_##suffix(std::size_t n, std::size_t* device_bytes,           \
                                                                  std::size_t* host_bytes, void* stream) {            \
    return telamon::cuda::syevd<T>(std::int64_t(n), nullptr, nullptr, nullptr, nullptr, *device_bytes, nullptr,       \
                                   *host_bytes, stream);                                                              \
  }                                                                                                                   \
  extern "C" TELAMON_API int telamon_cuda_kron_eigh_##suffix(std::size_t n, T* a, T* w, int* info, void* device_work, \
                                                             std::size_t device_bytes, void* host_work,               \
                                                             std::size_t host_bytes, void* stream) {                  \
    return telamon::kron::eigh(n, a, w, info, device_work, device_bytes, host_work, host_bytes, stream);              \
  }

TELAMON_KRON_ENTRIES(float, f32)
TELAMON_KRON_ENTRIES(double, f64)
