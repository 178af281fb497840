// First derivatives in the order and the argument, alone and with the value in one pass.
#include <telamon/special/bessel.hpp>

#include "launch.cuh"

namespace telamon::special {

TELAMON_ELEMENTWISE_KERNEL(log_iv_dv)
TELAMON_ELEMENTWISE_KERNEL(log_iv_dx)
TELAMON_ELEMENTWISE_KERNEL(log_kv_dv)
TELAMON_ELEMENTWISE_KERNEL(log_kv_dx)
TELAMON_ELEMENTWISE_KERNEL_3(log_iv_grad)
TELAMON_ELEMENTWISE_KERNEL_3(log_kv_grad)
TELAMON_ELEMENTWISE_KERNEL_3(log_ive_grad)
TELAMON_ELEMENTWISE_KERNEL_3(log_kve_grad)

}  // namespace telamon::special
