// How elementwise functions of two arguments become kernels, and kernels C functions.
//
// The C functions take device pointers and a stream, launch without waiting, and return a cudaError_t as int. The
// inputs have a step, counted in elements: 1 for an array, 0 for one value that serves all n. An output may be an
// input.
#pragma once

#include <cuda_runtime.h>

#include <telamon/core/config.hpp>

#include <cstddef>

namespace telamon::cuda {

template <class T, int Outputs>
struct outputs {
  T* at[Outputs];
};

// Grid-stride, so that any n fits any grid; indices are 64-bit, which costs nothing beside a Bessel function.
//
// A warp evaluates every branch that one of its 32 elements takes. The host avoids that by sorting blocks by regime.
// Here neighbours usually are in one regime already (a fixed order, sorted or smooth arguments); for shuffled arguments
// a sort within the block could pay, and has to be measured before it is written.
template <class Function, class T, int Outputs>
__global__ void __launch_bounds__(128) elementwise(const T* v, std::size_t v_step, const T* x, std::size_t x_step,
                                                   outputs<T, Outputs> out, std::size_t n) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) {
    Function::store(v[i * v_step], x[i * x_step], out.at, i);
  }
}

template <class Function, class T, int Outputs>
int launch(const T* v, std::size_t v_step, const T* x, std::size_t x_step, outputs<T, Outputs> out, std::size_t n,
           void* stream) {
  if (n == 0) return cudaSuccess;
  int device = 0, processors = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device)) {
    return error;
  }
  constexpr std::size_t threads = 128;
  const std::size_t wanted = (n + threads - 1) / threads, enough = 64 * std::size_t(processors);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(wanted < enough ? wanted : enough));
  config.blockDim = dim3(threads);
  config.stream = static_cast<cudaStream_t>(stream);
  return cudaLaunchKernelEx(&config, elementwise<Function, T, Outputs>, v, v_step, x, x_step, out, n);
}

}  // namespace telamon::cuda

// TELAMON_ELEMENTWISE_KERNEL(log_iv): telamon_cuda_log_iv_f64 and _f32 from the template scalar::log_iv(v, x).
#define TELAMON_ELEMENTWISE_KERNEL(name)                                        \
  namespace {                                                                   \
  struct name##_function {                                                      \
    template <class T>                                                          \
    static __device__ void store(T v, T x, T* const (&out)[1], std::size_t i) { \
      out[0][i] = scalar::name(v, x);                                           \
    }                                                                           \
  };                                                                            \
  }                                                                             \
  TELAMON_ELEMENTWISE_ENTRY(name, double, f64)                                  \
  TELAMON_ELEMENTWISE_ENTRY(name, float, f32)

#define TELAMON_ELEMENTWISE_ENTRY(name, T, suffix)                                                                     \
  extern "C" TELAMON_API int telamon_cuda_##name##_##suffix(const T* v, std::size_t v_step, const T* x,                \
                                                            std::size_t x_step, T* out, std::size_t n, void* stream) { \
    return ::telamon::cuda::launch<name##_function, T, 1>(v, v_step, x, x_step, {{out}}, n, stream);                   \
  }

// The same for three results of one pass, scalar::log_iv_grad(v, x, a, b, c).
#define TELAMON_ELEMENTWISE_KERNEL_3(name)                                      \
  namespace {                                                                   \
  struct name##_function {                                                      \
    template <class T>                                                          \
    static __device__ void store(T v, T x, T* const (&out)[3], std::size_t i) { \
      T a, b, c;                                                                \
      scalar::name(v, x, a, b, c);                                              \
      out[0][i] = a, out[1][i] = b, out[2][i] = c;                              \
    }                                                                           \
  };                                                                            \
  }                                                                             \
  TELAMON_ELEMENTWISE_ENTRY_3(name, double, f64)                                \
  TELAMON_ELEMENTWISE_ENTRY_3(name, float, f32)

#define TELAMON_ELEMENTWISE_ENTRY_3(name, T, suffix)                                                                   \
  extern "C" TELAMON_API int telamon_cuda_##name##_##suffix(                                                           \
      const T* v, std::size_t v_step, const T* x, std::size_t x_step, T* a, T* b, T* c, std::size_t n, void* stream) { \
    return ::telamon::cuda::launch<name##_function, T, 3>(v, v_step, x, x_step, {{a, b, c}}, n, stream);               \
  }
