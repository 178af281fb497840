// Second derivatives.
#include <telamon/special/bessel.hpp>

#include "launch.cuh"

namespace telamon::special {

TELAMON_ELEMENTWISE_KERNEL(log_iv_dxx)
TELAMON_ELEMENTWISE_KERNEL(log_kv_dxx)
TELAMON_ELEMENTWISE_KERNEL_3(log_iv_hess)
TELAMON_ELEMENTWISE_KERNEL_3(log_kv_hess)
TELAMON_ELEMENTWISE_KERNEL_3(log_ive_hess)
TELAMON_ELEMENTWISE_KERNEL_3(log_kve_hess)

}  // namespace telamon::special
