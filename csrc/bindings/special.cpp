#include <telamon/special.hpp>

#include "ufunc.hpp"

namespace telamon::bindings {

#define TELAMON_UFUNC(outputs, name) \
  ok = ok && add_ufunc<2, outputs, &telamon::special::name, &telamon::special::name>(module, #name);

// One single-output ufunc a function; these are the public ones, which dask and xarray can map over chunks. The passes
// that compute several derivatives at once have three outputs and serve the torch and JAX gradients.
bool bind_special(PyObject* module) {
  if (_import_array() < 0 || _import_umath() < 0) return false;
  bool ok = true;
#define TELAMON_SPECIAL_BINARY(name) TELAMON_UFUNC(1, name)
#include <telamon/special/functions.inc>
#undef TELAMON_SPECIAL_BINARY
#define TELAMON_SPECIAL_DERIVATIVES(name) TELAMON_UFUNC(3, name##_grad) TELAMON_UFUNC(3, name##_hess)
  TELAMON_SPECIAL_DERIVATIVES(log_iv)
  TELAMON_SPECIAL_DERIVATIVES(log_kv)
  TELAMON_SPECIAL_DERIVATIVES(log_ive)
  TELAMON_SPECIAL_DERIVATIVES(log_kve)
  return ok;
}

}  // namespace telamon::bindings
