// The axes of a grid on the device, and numbers along each of them; how its kernels are launched.
#pragma once

#include <cuda_runtime.h>

#include <telamon/core/config.hpp>

#include <algorithm>
#include <cstddef>

namespace telamon::kron::device {

inline constexpr int most_axes = 24;

// Axes of a grid whose last index runs fastest, with an array of numbers along each, or none, which stands for ones.
template <class T>
struct axes {
  int count = 0;
  std::size_t size[most_axes];
  const T* values[most_axes];

  void add(std::size_t n, const T* v) {
    size[count] = n;
    values[count++] = v;
  }
};

// The product of the numbers that belong to the entry `index` of the grid.
template <class R, class T>
TELAMON_HD TELAMON_INLINE R product_at(const axes<T>& grid, std::size_t index) noexcept {
  R product = 1;
  for (int i = grid.count - 1; i >= 0; --i) {
    const std::size_t above = index / grid.size[i];
    if (grid.values[i] != nullptr) product *= R(grid.values[i][index - above * grid.size[i]]);
    index = above;
  }
  return product;
}

// Kernels here loop over what a grid of blocks leaves, and have no shared memory but what they declare. The number of
// blocks does not depend on the device, nor do sums of one number a block.
template <class... Params, class... Args>
int launch(void (*kernel)(Params...), std::size_t blocks, int threads, void* stream, const Args&... args) {
  if (blocks == 0) return cudaSuccess;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(std::min(blocks, std::size_t(1) << 16)));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  return cudaLaunchKernelEx(&config, kernel, args...);
}

}  // namespace telamon::kron::device
