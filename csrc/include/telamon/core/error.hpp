// Argument checks of the array API. Kernels never throw: they return NaN.
#pragma once

#include <sstream>
#include <stdexcept>

namespace telamon {
namespace detail {

// Kept out of line, so that a check costs its caller one predictable branch.
template <class... Parts>
[[noreturn]] __attribute__((noinline, cold)) void fail(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw std::invalid_argument(message.str());
}

}  // namespace detail

// Throws std::invalid_argument, which Python sees as ValueError. The message says what came, what is wanted and how to
// mend it: `require(x.size() == n, "log_iv: x has ", x.size(), " elements, v has ", n, "; pass equal lengths");`
template <class... Parts>
inline void require(bool condition, const Parts&... parts) {
  if (!condition) detail::fail(parts...);
}

}  // namespace telamon
