// The functions of telamon/special.hpp on NVIDIA GPUs, from the templates that the host runs too.
#include <telamon/special/bessel.hpp>

#include "launch.cuh"

namespace telamon::special {

#define TELAMON_SPECIAL_BINARY(name) TELAMON_ELEMENTWISE_KERNEL(name)
#include <telamon/special/functions.inc>
#undef TELAMON_SPECIAL_BINARY

#define TELAMON_SPECIAL_DERIVATIVES(name)   \
  TELAMON_ELEMENTWISE_KERNEL_3(name##_grad) \
  TELAMON_ELEMENTWISE_KERNEL_3(name##_hess)
TELAMON_SPECIAL_DERIVATIVES(log_iv)
TELAMON_SPECIAL_DERIVATIVES(log_kv)
TELAMON_SPECIAL_DERIVATIVES(log_ive)
TELAMON_SPECIAL_DERIVATIVES(log_kve)
#undef TELAMON_SPECIAL_DERIVATIVES

}  // namespace telamon::special

extern "C" {

TELAMON_API const char* telamon_cuda_error_string(int error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

// How many devices there are; without a driver an error says so.
TELAMON_API int telamon_cuda_device_count(int* count) { return cudaGetDeviceCount(count); }
}
