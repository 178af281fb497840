// First derivatives in the order and the argument, alone and with the value in one pass.
#include "special_blocks.hpp"

namespace telamon::special {

using log_i = blocks::by_regime<detail::paired_bessel<detail::kind::i, 1>>;
using log_k = blocks::by_regime<detail::paired_bessel<detail::kind::k, 1>>;

TELAMON_SPECIAL_BOTH(log_iv_dv, log_i, 1)
TELAMON_SPECIAL_BOTH(log_iv_dx, log_i, 2)
TELAMON_SPECIAL_BOTH(log_kv_dv, log_k, 1)
TELAMON_SPECIAL_BOTH(log_kv_dx, log_k, 2)
TELAMON_SPECIAL_THREE(log_iv_grad, log_i, 0, 1, 2)
TELAMON_SPECIAL_THREE(log_ive_grad, log_i, 3, 1, 4)
TELAMON_SPECIAL_THREE(log_kv_grad, log_k, 0, 1, 2)
TELAMON_SPECIAL_THREE(log_kve_grad, log_k, 3, 1, 4)

}  // namespace telamon::special
