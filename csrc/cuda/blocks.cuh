// How kernels of blocks that share memory are launched: without waiting, as many blocks as keep the device busy
// (kernels loop over the rest). A cudaError_t as int; cudaErrorInvalidValue where a block wants more memory than there
// is.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

namespace telamon::cuda {

// What one block may have of shared memory on the current device, in bytes.
inline int most_shared(std::size_t& bytes) {
  int device = 0, most = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device)) {
    return error;
  }
  bytes = std::size_t(most);
  return cudaSuccess;
}

template <class... Params, class... Args>
int launch_blocks(void (*kernel)(Params...), std::size_t blocks, int threads, std::size_t shared, void* stream,
                  const Args&... args) {
  if (blocks == 0) return cudaSuccess;
  int device = 0, processors = 0;
  std::size_t most = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  if (const cudaError_t error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device)) {
    return error;
  }
  if (const int error = most_shared(most)) return error;
  if (shared > most) return cudaErrorInvalidValue;
  // More than every kernel may have must be asked for. The limit, not what this launch takes: another thread may launch
  // the same kernel with more in between. Kernels with shared arrays of a fixed size do not get so much, nor need it.
  if (shared > 48 * 1024) {
    if (const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(most))) {
      return error;
    }
  }
  const std::size_t enough = 32 * std::size_t(processors);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks < enough ? blocks : enough));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  return cudaLaunchKernelEx(&config, kernel, args...);
}

}  // namespace telamon::cuda
