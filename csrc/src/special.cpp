// log I, log K and the scaled forms. Ratios and derivatives compile apart (special_*.cpp), since the panels'
// polynomials are long and there is one copy a regime, function and instruction set.
#include "special_blocks.hpp"

namespace telamon::special {

using log_i = blocks::by_regime<detail::paired_bessel<detail::kind::i, 0>>;
using log_k = blocks::by_regime<detail::paired_bessel<detail::kind::k, 0>>;

TELAMON_SPECIAL_BOTH(log_iv, log_i, 0)
TELAMON_SPECIAL_BOTH(log_ive, log_i, 1)
TELAMON_SPECIAL_BOTH(log_kv, log_k, 0)
TELAMON_SPECIAL_BOTH(log_kve, log_k, 1)

}  // namespace telamon::special
