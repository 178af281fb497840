// Makes NumPy ufuncs of strided array functions. Includes only Python.h and NumPy: pybind11 would cost each translation
// unit ten seconds of compile time and brings nothing here.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
// NumPy wants its headers after Python.h.
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/ndarraytypes.h>
#include <numpy/ufuncobject.h>

#include <telamon/core/span.hpp>
#include <telamon/core/threads.hpp>

#include <cfenv>
#include <cstdint>
#include <utility>

namespace telamon::bindings {

// Below this many elements a second thread costs more than it saves: waking one takes tens of microseconds, an element
// some nanoseconds.
inline constexpr std::size_t ufunc_grain = 8192;

template <class T>
inline constexpr char type_number = sizeof(T) == 4 ? NPY_FLOAT : NPY_DOUBLE;

// An array function's signature: In strided inputs, Out strided outputs, and the number of elements.
template <class T, std::size_t In, std::size_t Out, class = std::make_index_sequence<In + Out>>
struct signature;

template <class T, std::size_t In, std::size_t Out, std::size_t... I>
struct signature<T, In, Out, std::index_sequence<I...>> {
  template <std::size_t J>
  using operand = strided<std::conditional_t<(J < In), const T, T>>;
  using function = void(operand<I>..., std::size_t);

  template <function* F>
  static void call(char** args, const npy_intp* steps, std::size_t begin, std::size_t end) {
    F(operand<I>(reinterpret_cast<decltype(operand<I>::data)>(args[I]), steps[I]).from(begin)..., end - begin);
  }
};

// NumPy makes temporary copies of operands that overlap, except in reduce and accumulate, where each element depends on
// the one before. There the array must be walked one element at a time.
template <std::size_t In, std::size_t Out>
bool elements_independent(char** args, const npy_intp* steps, npy_intp n) {
  const auto low = [&](std::size_t i) {
    return reinterpret_cast<std::intptr_t>(args[i]) + std::min(npy_intp{0}, steps[i] * (n - 1));
  };
  const auto high = [&](std::size_t i) {
    return reinterpret_cast<std::intptr_t>(args[i]) + std::max(npy_intp{0}, steps[i] * (n - 1));
  };
  for (std::size_t o = In; o < In + Out; ++o) {
    if (steps[o] == 0 && n > 1) return false;
    for (std::size_t i = 0; i < In; ++i) {
      const bool same = args[i] == args[o] && steps[i] == steps[o];
      if (!same && low(i) <= high(o) && low(o) <= high(i)) return false;
    }
  }
  return true;
}

// The loop NumPy calls, with the GIL released, on each run of elements with constant steps.
template <class T, std::size_t In, std::size_t Out, typename signature<T, In, Out>::function* F>
void ufunc_loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void*) noexcept {
  using sig = signature<T, In, Out>;
  const auto n = static_cast<std::size_t>(dimensions[0]);
  if (elements_independent<In, Out>(args, steps, dimensions[0])) {
    parallel_for(n, ufunc_grain,
                 [=](std::size_t begin, std::size_t end) { sig::template call<F>(args, steps, begin, end); });
  } else {
    for (std::size_t i = 0; i < n; ++i) sig::template call<F>(args, steps, i, i + 1);
  }
  // Branch-free kernels raise floating-point flags on paths whose result they discard. NumPy would warn of them; like
  // scipy.special, these functions answer with NaN and inf instead.
  if (std::fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW)) std::feclearexcept(FE_ALL_EXCEPT);
}

// Adds a ufunc with a float32 and a float64 loop to the module. False when a Python error is set.
template <std::size_t In, std::size_t Out, typename signature<float, In, Out>::function* F32,
          typename signature<double, In, Out>::function* F64>
bool add_ufunc(PyObject* module, const char* name) {
  // NumPy keeps pointers to these.
  static PyUFuncGenericFunction loops[] = {&ufunc_loop<float, In, Out, F32>, &ufunc_loop<double, In, Out, F64>};
  static void* data[] = {nullptr, nullptr};
  static const auto types = [] {
    struct {
      char of[2 * (In + Out)];
    } t{};
    for (std::size_t i = 0; i < In + Out; ++i) t.of[i] = type_number<float>, t.of[In + Out + i] = type_number<double>;
    return t;
  }();
  PyObject* ufunc = PyUFunc_FromFuncAndData(loops, data, types.of, 2, In, Out, PyUFunc_None, name, nullptr, 0);
  if (ufunc == nullptr) return false;
  const bool added = PyModule_AddObjectRef(module, name, ufunc) == 0;
  Py_DECREF(ufunc);
  return added;
}

}  // namespace telamon::bindings
