// First derivatives in the order and the argument, alone and with the value in one pass.
#include "special_blocks.hpp"

namespace telamon::special {

namespace names = detail::names;

TELAMON_SPECIAL_BOTH(log_iv_dv, blocks::by_regime<names::log_iv_grad>, 1)
TELAMON_SPECIAL_BOTH(log_iv_dx, blocks::by_regime<names::log_iv_grad>, 2)
TELAMON_SPECIAL_BOTH(log_kv_dv, blocks::by_regime<names::log_kv_grad>, 1)
TELAMON_SPECIAL_BOTH(log_kv_dx, blocks::by_regime<names::log_kv_grad>, 2)
TELAMON_SPECIAL_THREE(log_iv_grad, blocks::by_regime<names::log_iv_grad>)
TELAMON_SPECIAL_THREE(log_kv_grad, blocks::by_regime<names::log_kv_grad>)
TELAMON_SPECIAL_THREE(log_ive_grad, blocks::by_regime<names::log_ive_grad>)
TELAMON_SPECIAL_THREE(log_kve_grad, blocks::by_regime<names::log_kve_grad>)

}  // namespace telamon::special
