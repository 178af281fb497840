// The functions of telamon/special.hpp as XLA custom calls: telamon_jax_<name>, loaded and registered by telamon.jax.
//
// A handler takes v and x of one shape and one type, float32 or float64, and fills results of that shape.
#include "jax_ffi.hpp"

#include <telamon/special.hpp>

#include <cstddef>
#include <exception>
#include <utility>

namespace telamon::jax {
namespace {

namespace ffi = ::xla::ffi;

template <class T>
strided<const T> input(const ffi::AnyBuffer& buffer) {
  return span<const T>(static_cast<const T*>(buffer.untyped_data()), buffer.element_count());
}

template <class T>
strided<T> output(ffi::Result<ffi::AnyBuffer>& buffer) {
  return span<T>(static_cast<T*>(buffer->untyped_data()), buffer->element_count());
}

// No exception may cross into XLA.
template <class Function, class... Results>
ffi::Error run(Function function, const ffi::AnyBuffer& v, const ffi::AnyBuffer& x, Results&... results) {
  const std::size_t n = x.element_count();
  const ffi::DataType type = x.element_type();
  if (v.element_count() != n || v.element_type() != type || ((results->element_count() != n) || ...) ||
      ((results->element_type() != type) || ...)) {
    return ffi::Error::InvalidArgument("telamon: v, x and the results must have one shape and one type");
  }
  try {
    if (type == ffi::F64) {
      function(input<double>(v), input<double>(x), output<double>(results)..., n);
    } else if (type == ffi::F32) {
      function(input<float>(v), input<float>(x), output<float>(results)..., n);
    } else {
      return ffi::Error::InvalidArgument("telamon: v and x must be float32 or float64");
    }
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
  return ffi::Error::Success();
}

}  // namespace

using ffi::AnyBuffer;
using Out = ffi::Result<AnyBuffer>;

#define TELAMON_CALL(name) [](auto... args) { special::name(args...); }

#define TELAMON_JAX_1(name)                                                                                          \
  static ffi::Error name##_handler(AnyBuffer v, AnyBuffer x, Out out) { return run(TELAMON_CALL(name), v, x, out); } \
  TELAMON_HANDLER(name, ffi::Ffi::Bind().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>())

#define TELAMON_JAX_3(name)                                                         \
  static ffi::Error name##_handler(AnyBuffer v, AnyBuffer x, Out a, Out b, Out c) { \
    return run(TELAMON_CALL(name), v, x, a, b, c);                                  \
  }                                                                                 \
  TELAMON_HANDLER(                                                                  \
      name, ffi::Ffi::Bind().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>().Ret<AnyBuffer>().Ret<AnyBuffer>())

#define TELAMON_SPECIAL_BINARY(name) TELAMON_JAX_1(name)
#include <telamon/special/functions.inc>
#undef TELAMON_SPECIAL_BINARY

#define TELAMON_SPECIAL_DERIVATIVES(name) TELAMON_JAX_3(name##_grad) TELAMON_JAX_3(name##_hess)
TELAMON_SPECIAL_DERIVATIVES(log_iv)
TELAMON_SPECIAL_DERIVATIVES(log_kv)
TELAMON_SPECIAL_DERIVATIVES(log_ive)
TELAMON_SPECIAL_DERIVATIVES(log_kve)
#undef TELAMON_SPECIAL_DERIVATIVES

}  // namespace telamon::jax
