// Second derivatives. The scaled functions differ from the others by x, so their second derivatives are the same.
#include "special_blocks.hpp"

namespace telamon::special {

namespace names = detail::names;

TELAMON_SPECIAL_BOTH(log_iv_dxx, blocks::one_by_one<names::log_iv_hess>, 2)
TELAMON_SPECIAL_BOTH(log_kv_dxx, blocks::one_by_one<names::log_kv_hess>, 2)
TELAMON_SPECIAL_THREE(log_iv_hess, blocks::one_by_one<names::log_iv_hess>, 0, 1, 2)
TELAMON_SPECIAL_THREE(log_kv_hess, blocks::one_by_one<names::log_kv_hess>, 0, 1, 2)
TELAMON_SPECIAL_THREE(log_ive_hess, blocks::one_by_one<names::log_ive_hess>, 0, 1, 2)
TELAMON_SPECIAL_THREE(log_kve_hess, blocks::one_by_one<names::log_kve_hess>, 0, 1, 2)

}  // namespace telamon::special
