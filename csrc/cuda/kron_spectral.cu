// One pass over the spectrum of K + noise I on NVIDIA GPUs: quotients, sums, and the weights of gradients.
//
// lam is the outer product of the factors' eigenvalues, made on the way. Sums are in double, of blocks whose number
// depends on the sizes alone, and added in order, so that they have the same bits each time. The C functions are like
// those of launch.cuh.
#include <telamon/core/config.hpp>

#include "kron_axes.cuh"

#include <algorithm>
#include <cstddef>

namespace telamon::kron {
namespace {

constexpr int threads = 256;
constexpr std::size_t most_blocks = 1024;  // of a pass over the whole grid
constexpr std::size_t most_parts = 64;     // of the sum that is one weight
constexpr std::size_t part_size = 4096;    // at least, where there are several

// The sum over the threads of a block, for its first thread.
__device__ double block_sum(double mine) {
  __shared__ double memory[threads];
  memory[threadIdx.x] = mine;
  __syncthreads();
  for (int half = threads / 2; half > 0; half /= 2) {
    if (int(threadIdx.x) < half) memory[threadIdx.x] += memory[int(threadIdx.x) + half];
    __syncthreads();
  }
  const double sum = memory[0];
  __syncthreads();
  return sum;
}

// out = b/(lam + noise) for b (batch, entries), or no b; three sums a block: b^2/(lam + noise), log, 1/(lam + noise).
template <class T>
__global__ void __launch_bounds__(threads)
    divide(const __grid_constant__ device::axes<T> values, const T* noise, std::size_t entries, std::size_t batch,
           const T* b, T* out, double* partial) {
  const double shift = double(*noise);
  double quadratic = 0, logarithms = 0, inverses = 0;
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < entries; i += stride) {
    const double m = device::product_at<double>(values, i) + shift, inverse = 1 / m;
    logarithms += ::log(m);
    inverses += inverse;
    for (std::size_t k = 0; b != nullptr && k < batch; ++k) {
      const double of = double(b[k * entries + i]), quotient = of * inverse;
      quadratic += of * quotient;
      if (out != nullptr) out[k * entries + i] = T(quotient);
    }
  }
  const double sums[3] = {block_sum(quadratic), block_sum(logarithms), block_sum(inverses)};
  if (threadIdx.x == 0) {
    for (int k = 0; k < 3; ++k) partial[std::size_t(k) * gridDim.x + blockIdx.x] = sums[k];
  }
}

// to[i] = the sum of `count` numbers each, a block for each i.
__global__ void __launch_bounds__(threads)
    add_up(const double* partial, std::size_t count, std::size_t sums, double* to) {
  for (std::size_t i = blockIdx.x; i < sums; i += gridDim.x) {
    double mine = 0;
    for (std::size_t k = threadIdx.x; k < count; k += blockDim.x) mine += partial[i * count + k];
    const double sum = block_sum(mine);
    if (threadIdx.x == 0) to[i] = sum;
  }
}

// partial (n, parts): for each eigenvalue of one axis sums of rest/(eigenvalue rest + noise), rest the products of the
// other axes' eigenvalues.
template <class T>
__global__ void __launch_bounds__(threads)
    weigh(const __grid_constant__ device::axes<T> others, std::size_t entries, const T* eigenvalues, std::size_t n,
          std::size_t parts, const T* noise, double* partial) {
  const double shift = double(*noise);
  for (std::size_t i = blockIdx.x; i < n * parts; i += gridDim.x) {
    const double eigenvalue = double(eigenvalues[i / parts]);
    double mine = 0;
    for (std::size_t k = i % parts * blockDim.x + threadIdx.x; k < entries; k += parts * blockDim.x) {
      const double rest = device::product_at<double>(others, k);
      mine += rest / (eigenvalue * rest + shift);
    }
    const double sum = block_sum(mine);
    if (threadIdx.x == 0) partial[i] = sum;
  }
}

constexpr std::size_t parts_of(std::size_t entries) {
  return std::min(most_parts, std::max(std::size_t(1), entries / part_size));
}

template <class T>
int spectral(int d, const std::size_t* sizes, const T* const* values, const T* noise, std::size_t batch, const T* b,
             T* out, double* const* weights, double* sums, double* work, std::size_t work_size, void* stream) {
  if (d < 1 || d >= device::most_axes) return cudaErrorInvalidValue;
  std::size_t entries = 1;
  device::axes<T> all;
  for (int i = 0; i < d; ++i) {
    if (sizes[i] == 0) return cudaErrorInvalidValue;
    entries *= sizes[i];
    all.add(sizes[i], values[i]);
  }
  const std::size_t blocks = std::min((entries + threads - 1) / threads, most_blocks);
  if (work_size < 3 * blocks) return cudaErrorInvalidValue;
  if (const int error = device::launch(divide<T>, blocks, threads, stream, all, noise, entries, batch, b, out, work)) {
    return error;
  }
  if (const int error = device::launch(add_up, 3, threads, stream, work, blocks, std::size_t(3), sums)) {
    return error;
  }
  for (int i = 0; weights != nullptr && i < d; ++i) {
    device::axes<T> others;
    others.add(1, nullptr);
    for (int j = 0; j < d; ++j) {
      if (j != i) others.add(sizes[j], values[j]);
    }
    const std::size_t n = sizes[i], rest = entries / n, parts = parts_of(rest);
    if (work_size < n * parts) return cudaErrorInvalidValue;
    if (const int error =
            device::launch(weigh<T>, n * parts, threads, stream, others, rest, values[i], n, parts, noise, work)) {
      return error;
    }
    if (const int error = device::launch(add_up, n, threads, stream, work, parts, n, weights[i])) return error;
  }
  return cudaSuccess;
}

}  // namespace
}  // namespace telamon::kron

// How many doubles of work suffice for axes of at most `longest` entries.
extern "C" TELAMON_API int telamon_cuda_kron_spectral_work(std::size_t longest, std::size_t* size) {
  *size = std::max(3 * telamon::kron::most_blocks, telamon::kron::most_parts * longest);
  return cudaSuccess;
}

// sizes, values and weights are arrays of d on the host, of pointers to the device; noise is there too. b and out are
// (batch, n_1, ..., n_d), or null; out may be b. sums: b^2/(lam + noise), log(lam + noise), 1/(lam + noise).
#define TELAMON_KRON_SPECTRAL(T, suffix)                                                                              \
  extern "C" TELAMON_API int telamon_cuda_kron_spectral_##suffix(                                                     \
      int d, const std::size_t* sizes, const T* const* values, const T* noise, std::size_t batch, const T* b, T* out, \
      double* const* weights, double* sums, double* work, std::size_t work_size, void* stream) {                      \
    return telamon::kron::spectral(d, sizes, values, noise, batch, b, out, weights, sums, work, work_size, stream);   \
  }

TELAMON_KRON_SPECTRAL(float, f32)
TELAMON_KRON_SPECTRAL(double, f64)
