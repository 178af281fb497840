// Logarithms of modified Bessel functions, their ratios and derivatives, for arrays of float or double.
//
// Elementwise functions of the order v and the argument x; formulas, domains and errors stand in special/*.hpp and in
// docs/special.md. NaN marks arguments outside a function's domain; unequal lengths throw std::invalid_argument. An
// output may be one of the inputs, but must not overlap one otherwise. Long arrays are shared among the pool's threads;
// results do not depend on that, nor on an element's position, its neighbours or any stride.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/span.hpp>

#include <cstddef>

namespace telamon::special {

#define TELAMON_SPECIAL_DECLARE(T, name)                                \
  TELAMON_API void name(span<const T> v, span<const T> x, span<T> out); \
  TELAMON_API void name(strided<const T> v, strided<const T> x, strided<T> out, std::size_t n);

#define TELAMON_SPECIAL_BINARY(name)    \
  TELAMON_SPECIAL_DECLARE(double, name) \
  TELAMON_SPECIAL_DECLARE(float, name)
#include <telamon/special/functions.inc>
#undef TELAMON_SPECIAL_BINARY
#undef TELAMON_SPECIAL_DECLARE

// In one pass: the value, its derivative in v and in x (`_grad`); the second derivatives in v, in v and x, and in x
// (`_hess`).
#define TELAMON_SPECIAL_DECLARE(T, name)                                                                               \
  TELAMON_API void name##_grad(strided<const T> v, strided<const T> x, strided<T> value, strided<T> dv, strided<T> dx, \
                               std::size_t n);                                                                         \
  TELAMON_API void name##_hess(strided<const T> v, strided<const T> x, strided<T> dvv, strided<T> dvx, strided<T> dxx, \
                               std::size_t n);
#define TELAMON_SPECIAL_DERIVATIVES(name) TELAMON_SPECIAL_DECLARE(double, name) TELAMON_SPECIAL_DECLARE(float, name)
TELAMON_SPECIAL_DERIVATIVES(log_iv)
TELAMON_SPECIAL_DERIVATIVES(log_kv)
TELAMON_SPECIAL_DERIVATIVES(log_ive)
TELAMON_SPECIAL_DERIVATIVES(log_kve)
#undef TELAMON_SPECIAL_DERIVATIVES
#undef TELAMON_SPECIAL_DECLARE

}  // namespace telamon::special
