// What bindings of functions on whole arrays share: checks as far as memory is at stake, and the choice by dtype.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>

namespace telamon::bindings {

inline void check(bool condition, const std::string& message) {
  if (!condition) throw pybind11::value_error("telamon._core: " + message);
}

// Calls f with a zero of the array's type.
template <class F>
auto by_type(const pybind11::array& a, F f) {
  if (pybind11::isinstance<pybind11::array_t<float>>(a)) return f(float());
  if (pybind11::isinstance<pybind11::array_t<double>>(a)) return f(double());
  throw pybind11::type_error("telamon._core: the arrays must be float32 or float64");
}

}  // namespace telamon::bindings
