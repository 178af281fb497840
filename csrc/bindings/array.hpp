// What bindings of functions on whole arrays share: checks as far as memory is at stake, and the choice by dtype.
// The core so3 takes arrays of any strides, and has checks of its own for them.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <string>
#include <vector>

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

using sizes = std::vector<std::size_t>;

inline sizes shape_of(const pybind11::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

template <class T>
void check_array(const pybind11::array& a, const sizes& shape, const char* name) {
  check(pybind11::isinstance<pybind11::array_t<T>>(a), std::string(name) + " has another dtype than the others");
  check(shape_of(a) == shape, std::string(name) + " has a wrong shape");
  check(a.flags() & pybind11::array::c_style, std::string(name) + " is not contiguous");
}
template <class T>
const T* input(const pybind11::array& a, const sizes& shape, const char* name) {
  check_array<T>(a, shape, name);
  return static_cast<const T*>(a.data());
}
template <class T>
T* output(pybind11::array& a, const sizes& shape, const char* name) {
  check_array<T>(a, shape, name);
  return static_cast<T*>(a.mutable_data());
}

}  // namespace telamon::bindings
