// The functions of telamon/kron.hpp on NumPy arrays. telamon.kron checks and shapes its arguments; here they are only
// checked as far as memory is at stake.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <telamon/kron.hpp>

#include "array.hpp"

#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace py = pybind11;

namespace telamon::bindings {
namespace {

// (batch, n_1, ..., n_d, columns)
struct grid {
  sizes shape;
  std::size_t batch, columns;
  grid(const py::array& x, std::size_t axes, const char* name) {
    check(std::size_t(x.ndim()) == axes + 2, std::string(name) + " has " + std::to_string(x.ndim()) +
                                                 " dimensions, not a batch, " + std::to_string(axes) +
                                                 " axes and columns");
    const sizes all = shape_of(x);
    batch = all.front(), columns = all.back();
    shape.assign(all.begin() + 1, all.end() - 1);
  }
  sizes with(const sizes& axes) const {
    sizes all{batch};
    all.insert(all.end(), axes.begin(), axes.end());
    all.push_back(columns);
    return all;
  }
};

void matmul(const std::vector<std::optional<py::array>>& factors, const py::array& x, py::array out) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    const grid g(x, factors.size(), "x");
    std::vector<kron::matrix<T>> a;
    sizes rows;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      const std::size_t n = g.shape[i];
      if (!factors[i]) {
        a.push_back({nullptr, n, n, 0, 0});
      } else {
        const py::array& f = *factors[i];
        check(py::isinstance<py::array_t<T>>(f), "a factor has another dtype than x");
        check(f.ndim() == 2 && std::size_t(f.shape(1)) == n, "a factor has a wrong shape");
        const py::ssize_t item = sizeof(T);
        check(f.strides(0) % item == 0 && f.strides(1) % item == 0, "a factor has strides that are no whole items");
        a.push_back(
            {static_cast<const T*>(f.data()), std::size_t(f.shape(0)), n, f.strides(0) / item, f.strides(1) / item});
        // NumPy's steps along an axis of one entry may be anything; BLAS wants a row's step to be its length.
        if (f.shape(0) == 1) a.back().row = py::ssize_t(n);
        if (n == 1) a.back().column = 1, a.back().row = f.shape(0) == 1 ? 1 : f.strides(0) / item;
      }
      rows.push_back(a.back().rows);
    }
    const T* from = input<T>(x, g.with(g.shape), "x");
    T* to = output<T>(out, g.with(rows), "out");
    const py::gil_scoped_release release;
    kron::matmul(a, from, to, g.batch, g.columns);
  });
}

void gram(const py::array& x, const std::optional<py::array>& y, const std::optional<std::vector<py::array>>& scales,
          std::size_t axis, py::array out) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    check(x.ndim() >= 3, "x has no axes between a batch and columns");
    const grid g(x, std::size_t(x.ndim()) - 2, "x");
    check(axis < g.shape.size(), "axis is beyond the grid's");
    const T* from = input<T>(x, g.with(g.shape), "x");
    const T* other = nullptr;
    std::size_t n = g.shape[axis];
    if (y) {
      check(y->ndim() == x.ndim(), "y has another number of dimensions than x");
      sizes shape = g.shape;
      shape[axis] = n = std::size_t(y->shape(py::ssize_t(axis) + 1));
      other = input<T>(*y, g.with(shape), "y");
    }
    std::vector<const T*> s;
    if (scales) {
      check(scales->size() == g.shape.size(), "there must be one array of scales an axis");
      for (std::size_t i = 0; i < scales->size(); ++i) {
        s.push_back(i == axis ? nullptr : input<T>((*scales)[i], {g.shape[i]}, "scales"));
      }
    }
    T* to = output<T>(out, {g.shape[axis], n}, "out");
    const py::gil_scoped_release release;
    kron::gram(g.shape, axis, from, other, n, s, to, g.batch, g.columns);
  });
}

std::tuple<double, double, double> spectral(const std::vector<py::array>& values, double noise,
                                            const std::optional<py::array>& b, std::optional<py::array> out,
                                            std::optional<std::vector<py::array>> weights) {
  check(!values.empty(), "there are no eigenvalues");
  return by_type(values.front(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<span<const T>> v;
    sizes shape;
    for (const py::array& a : values) {
      check(a.ndim() == 1, "eigenvalues must have one dimension");
      shape.push_back(std::size_t(a.shape(0)));
      v.push_back({input<T>(a, {shape.back()}, "values"), shape.back()});
    }
    const T* from = nullptr;
    T* to = nullptr;
    std::size_t batch = 1, columns = 1;
    if (b) {
      const grid g(*b, shape.size(), "b");
      from = input<T>(*b, g.with(shape), "b"), batch = g.batch, columns = g.columns;
      if (out) to = output<T>(*out, g.with(shape), "out");
    }
    check(b || !out, "out is given, b is not");
    std::vector<double*> w;
    if (weights) {
      check(weights->size() == shape.size(), "there must be one array of weights an axis");
      for (std::size_t i = 0; i < shape.size(); ++i) w.push_back(output<double>((*weights)[i], {shape[i]}, "weights"));
    }
    const py::gil_scoped_release release;
    const kron::spectral_sums s = kron::spectral(v, noise, from, to, w, batch, columns);
    return std::tuple{s.quadratic, s.logdet, s.trace};
  });
}

void eigh(const py::array& a, py::array w, py::array q) {
  by_type(a, [&](auto zero) {
    using T = decltype(zero);
    check(a.ndim() == 2 && a.shape(0) == a.shape(1), "a is not square");
    const std::size_t n = std::size_t(a.shape(0));
    const T* from = input<T>(a, {n, n}, "a");
    T *values = output<T>(w, {n}, "w"), *vectors = output<T>(q, {n, n}, "q");
    const py::gil_scoped_release release;
    kron::eigh(n, from, values, vectors);
  });
}

void eigh_toeplitz(const py::array& column, py::array w, py::array q) {
  by_type(column, [&](auto zero) {
    using T = decltype(zero);
    check(column.ndim() == 1, "column must have one dimension");
    const std::size_t n = std::size_t(column.shape(0));
    const T* from = input<T>(column, {n}, "column");
    T *values = output<T>(w, {n}, "w"), *vectors = output<T>(q, {n, n}, "q");
    const py::gil_scoped_release release;
    kron::eigh_toeplitz(n, from, values, vectors);
  });
}

template <class T>
kron::state_space<T> process(const py::array& transitions, const py::array& h) {
  check(transitions.ndim() == 3, "transitions must have three dimensions");
  kron::state_space<T> k;
  k.points = std::size_t(transitions.shape(0)), k.states = std::size_t(transitions.shape(1));
  k.transitions = input<T>(transitions, {k.points, k.states, k.states}, "transitions");
  k.measurement = input<T>(h, {k.states}, "h");
  return k;
}

void statespace_matmul(const py::array& transitions, const py::array& cov, const py::array& h, const py::array& x,
                       py::array out) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    kron::state_space<T> k = process<T>(transitions, h);
    k.covariance = input<T>(cov, {k.states, k.states}, "cov");
    check(x.ndim() == 3 && std::size_t(x.shape(1)) == k.points, "x must be (left, points, right)");
    const sizes shape = shape_of(x);
    const T* from = input<T>(x, shape, "x");
    T* to = output<T>(out, shape, "out");
    const py::gil_scoped_release release;
    kron::state_space_matmul(k, from, to, shape[0], shape[2]);
  });
}

void statespace_factor(const py::array& transitions, const py::array& cov, const py::array& h, const py::array& noise,
                       py::array d, py::array w) {
  by_type(noise, [&](auto zero) {
    using T = decltype(zero);
    kron::state_space<T> k = process<T>(transitions, h);
    k.covariance = input<T>(cov, {k.states, k.states}, "cov");
    const T* s = input<T>(noise, {k.points}, "noise");
    T *pd = output<T>(d, {k.points}, "d"), *pw = output<T>(w, {k.points, k.states}, "w");
    const py::gil_scoped_release release;
    kron::state_space_factor(k, s, pd, pw);
  });
}

void statespace_solve(const py::array& transitions, const py::array& h, const py::array& d, const py::array& w,
                      const py::array& x, py::array out, const std::string& part) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    const kron::state_space<T> k = process<T>(transitions, h);
    check(x.ndim() == 3 && std::size_t(x.shape(1)) == k.points, "x must be (left, points, right)");
    const sizes shape = shape_of(x);
    const T *pd = input<T>(d, {k.points}, "d"), *pw = input<T>(w, {k.points, k.states}, "w");
    const T* from = input<T>(x, shape, "x");
    T* to = output<T>(out, shape, "out");
    check(part == "full" || part == "lower" || part == "sqrt", "part is '" + part + "'");
    const kron::state_space_part which = part == "full"    ? kron::state_space_part::full
                                         : part == "lower" ? kron::state_space_part::lower
                                                           : kron::state_space_part::sqrt;
    const py::gil_scoped_release release;
    kron::state_space_solve(k, pd, pw, from, to, shape[0], shape[2], which);
  });
}

}  // namespace

bool bind_kron(PyObject* module) {
  py::module_ m = py::reinterpret_borrow<py::module_>(module);
  using namespace py::literals;
  m.def("kron_matmul", &matmul, "factors"_a, "x"_a, "out"_a);
  m.def("kron_gram", &gram, "x"_a, "y"_a, "scales"_a, "axis"_a, "out"_a);
  m.def("kron_spectral", &spectral, "values"_a, "noise"_a, "b"_a = py::none(), "out"_a = py::none(),
        "weights"_a = py::none());
  m.def("kron_eigh", &eigh, "a"_a, "w"_a, "q"_a);
  m.def("kron_eigh_toeplitz", &eigh_toeplitz, "column"_a, "w"_a, "q"_a);
  m.def("kron_statespace_matmul", &statespace_matmul, "transitions"_a, "cov"_a, "h"_a, "x"_a, "out"_a);
  m.def("kron_statespace_factor", &statespace_factor, "transitions"_a, "cov"_a, "h"_a, "noise"_a, "d"_a, "w"_a);
  m.def("kron_statespace_solve", &statespace_solve, "transitions"_a, "h"_a, "d"_a, "w"_a, "x"_a, "out"_a,
        "part"_a = "full");
  return true;
}

}  // namespace telamon::bindings
