// Ratios of neighbouring orders and the inverse ratio.
#include <telamon/special/bessel.hpp>

#include "launch.cuh"

namespace telamon::special {

TELAMON_ELEMENTWISE_KERNEL(iv_ratio)
TELAMON_ELEMENTWISE_KERNEL(iv_ratio_c)
TELAMON_ELEMENTWISE_KERNEL(iv_ratioinv)
TELAMON_ELEMENTWISE_KERNEL(kv_ratio)

}  // namespace telamon::special
