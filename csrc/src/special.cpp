// log I, log K, the scaled forms and the ratios. Derivatives compile apart (special_grad.cpp, special_hess.cpp), since
// the panels' polynomials are long and there is one copy a regime, function and instruction set.
#include "special_blocks.hpp"

namespace telamon::special {

namespace names = detail::names;

TELAMON_SPECIAL_BOTH(log_iv, blocks::by_regime<names::log_iv>, 0)
TELAMON_SPECIAL_BOTH(log_kv, blocks::by_regime<names::log_kv>, 0)
TELAMON_SPECIAL_BOTH(log_ive, blocks::by_regime<names::log_ive>, 0)
TELAMON_SPECIAL_BOTH(log_kve, blocks::by_regime<names::log_kve>, 0)

}  // namespace telamon::special
