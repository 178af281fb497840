// The functions of telamon/special.hpp for one pair (v, x), as templates for host and device: no library needed.
//   double l = telamon::special::scalar::log_iv(0.5, 2.0);
// T is float or double; float is computed in double and rounded once. Formulas: debye.hpp, log_i.hpp, log_k.hpp,
// ratio.hpp.
#pragma once

#include <telamon/special/ratio.hpp>

namespace telamon::special {

// Which function and which of its outputs a public name means.
namespace detail::names {
using log_iv = log_bessel<kind::i, false, 0>;
using log_kv = log_bessel<kind::k, false, 0>;
using log_ive = log_bessel<kind::i, true, 0>;
using log_kve = log_bessel<kind::k, true, 0>;
using log_iv_grad = log_bessel<kind::i, false, 1>;
using log_kv_grad = log_bessel<kind::k, false, 1>;
using log_ive_grad = log_bessel<kind::i, true, 1>;
using log_kve_grad = log_bessel<kind::k, true, 1>;
using log_iv_hess = log_bessel<kind::i, false, 2>;
using log_kv_hess = log_bessel<kind::k, false, 2>;
using log_ive_hess = log_iv_hess;  // x is linear in v and x
using log_kve_hess = log_kv_hess;
using iv_ratio = iv_ratio_function;
using kv_ratio = kv_ratio_function;
}  // namespace detail::names

namespace scalar {

#define TELAMON_SPECIAL_SCALAR(name, function, output)                                    \
  template <class T>                                                                      \
  TELAMON_HD T name(T v, T x) noexcept {                                                  \
    return T(detail::evaluate<detail::names::function>(double(v), double(x)).at[output]); \
  }
TELAMON_SPECIAL_SCALAR(log_iv, log_iv, 0)
TELAMON_SPECIAL_SCALAR(log_kv, log_kv, 0)
TELAMON_SPECIAL_SCALAR(log_ive, log_ive, 0)
TELAMON_SPECIAL_SCALAR(log_kve, log_kve, 0)
TELAMON_SPECIAL_SCALAR(iv_ratio, iv_ratio, 0)
TELAMON_SPECIAL_SCALAR(iv_ratio_c, iv_ratio, 1)
TELAMON_SPECIAL_SCALAR(kv_ratio, kv_ratio, 0)
TELAMON_SPECIAL_SCALAR(log_iv_dv, log_iv_grad, 1)
TELAMON_SPECIAL_SCALAR(log_iv_dx, log_iv_grad, 2)
TELAMON_SPECIAL_SCALAR(log_kv_dv, log_kv_grad, 1)
TELAMON_SPECIAL_SCALAR(log_kv_dx, log_kv_grad, 2)
TELAMON_SPECIAL_SCALAR(log_iv_dxx, log_iv_hess, 2)
TELAMON_SPECIAL_SCALAR(log_kv_dxx, log_kv_hess, 2)
#undef TELAMON_SPECIAL_SCALAR

// The x with iv_ratio(v, x) = r.
template <class T>
TELAMON_HD T iv_ratioinv(T v, T r) noexcept {
  return T(detail::inverse(double(v), double(r)));
}

// Three results in one pass: value, d/dv, d/dx (_grad); d2/dv2, d2/dvdx, d2/dx2 (_hess).
#define TELAMON_SPECIAL_THREE(name)                                             \
  template <class T>                                                            \
  TELAMON_HD void name(T v, T x, T& a, T& b, T& c) noexcept {                   \
    const auto r = detail::evaluate<detail::names::name>(double(v), double(x)); \
    a = T(r.at[0]), b = T(r.at[1]), c = T(r.at[2]);                             \
  }
TELAMON_SPECIAL_THREE(log_iv_grad)
TELAMON_SPECIAL_THREE(log_kv_grad)
TELAMON_SPECIAL_THREE(log_ive_grad)
TELAMON_SPECIAL_THREE(log_kve_grad)
TELAMON_SPECIAL_THREE(log_iv_hess)
TELAMON_SPECIAL_THREE(log_kv_hess)
TELAMON_SPECIAL_THREE(log_ive_hess)
TELAMON_SPECIAL_THREE(log_kve_hess)
#undef TELAMON_SPECIAL_THREE

}  // namespace scalar
}  // namespace telamon::special
