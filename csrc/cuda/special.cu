// The functions of telamon/special.hpp on NVIDIA GPUs, from the templates that the host runs too: values. The rest
// compiles apart, as on the host (special_grad.cu, special_hess.cu, special_ratio.cu).
#include <telamon/special/bessel.hpp>

#include "launch.cuh"

namespace telamon::special {

TELAMON_ELEMENTWISE_KERNEL(log_iv)
TELAMON_ELEMENTWISE_KERNEL(log_kv)
TELAMON_ELEMENTWISE_KERNEL(log_ive)
TELAMON_ELEMENTWISE_KERNEL(log_kve)

}  // namespace telamon::special

extern "C" {

TELAMON_API const char* telamon_cuda_error_string(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

// How many devices there are; without a driver an error says so.
TELAMON_API int telamon_cuda_device_count(int* count) { return cudaGetDeviceCount(count); }
}
