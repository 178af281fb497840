// What the XLA handlers of every core share. XLA's headers are C++ over a stable C interface; nothing of JAX or XLA is
// linked.
#pragma once

#include <telamon/core/config.hpp>

// XLA's C header names fields like their types. g++ lets that pass inside extern "C", unless it is pedantic.
__extension__ extern "C++" {
#include <xla/ffi/api/c_api.h>
}
#include <xla/ffi/api/ffi.h>

#define TELAMON_HANDLER(name, ...)                                                    \
  extern "C" TELAMON_API XLA_FFI_Error* telamon_jax_##name(XLA_FFI_CallFrame* frame); \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(telamon_jax_##name, name##_handler, __VA_ARGS__);
