// The extension module telamon._core: the settings of the library, and one bind_<core> for each core.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <telamon/core/config.hpp>
#include <telamon/core/isa.hpp>
#include <telamon/core/threads.hpp>

#include <string>
#include <vector>

namespace py = pybind11;

namespace telamon::bindings {

// cores.inc is written by CMake: TELAMON_CORE(name) for each of TELAMON_CORES.
#define TELAMON_CORE(name) bool bind_##name(PyObject* module);
#include "cores.inc"
#undef TELAMON_CORE

namespace {

std::vector<std::string> available_isa_names() {
  std::vector<std::string> names;
  for (isa which : available_isas()) names.emplace_back(isa_name(which));
  return names;
}

py::dict build_info() {
  py::dict info;
  info["version"] = TELAMON_VERSION;
  info["compiler"] = TELAMON_COMPILER;
  info["flags"] = TELAMON_FLAGS;
  info["build_type"] = TELAMON_BUILD_TYPE;
  info["sanitize"] = TELAMON_SANITIZE;
  info["platform"] = TELAMON_PLATFORM;
  info["blas"] = TELAMON_BLAS;
  info["numpy_headers"] = TELAMON_NUMPY_VERSION;
  info["pybind11"] = py::str("{}.{}.{}").format(PYBIND11_VERSION_MAJOR, PYBIND11_VERSION_MINOR, PYBIND11_VERSION_PATCH);
  return info;
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  // A mistake in TELAMON_ISA or TELAMON_NUM_THREADS is reported at import, not by whatever happens to run first.
  active_isa();
  get_num_threads();

  m.attr("__version__") = TELAMON_VERSION;
  m.def("build_info", &build_info, "How this build was made: compiler, flags, and what was compiled in.");
  m.def("available_isas", &available_isa_names,
        "The instruction sets that this build has and this processor can run, the best last.");
  m.def(
      "active_isa", [] { return std::string(isa_name(active_isa())); },
      "The instruction set in use: the best available, or what the environment variable TELAMON_ISA names.");
  m.def("set_isa", &set_isa, py::arg("name"),
        "Use another instruction set from now on. For tests and benchmarks: results may differ in the last bit.\n\n"
        "Raises ValueError if the name is not one of available_isas().");
  m.def("get_num_threads", &get_num_threads,
        "The number of threads that long arrays are worked on with: what set_num_threads set, else the environment\n"
        "variable TELAMON_NUM_THREADS, else OMP_NUM_THREADS, else the processors that this process may use.");
  m.def(
      "set_num_threads", &set_num_threads, py::arg("n"),
      "Set the number of threads that long arrays are worked on with, in this process. Results do not depend on it.\n\n"
      "Raises ValueError if n is less than 1.");

#define TELAMON_CORE(name) \
  if (!bind_##name(m.ptr())) throw py::error_already_set();
#include "cores.inc"
#undef TELAMON_CORE
}

}  // namespace telamon::bindings
