// The functions of telamon/so3.hpp on NumPy arrays. telamon.so3 checks and shapes its arguments; here they are only
// checked as far as memory is at stake.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <telamon/so3.hpp>

#include "array.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace py = pybind11;

namespace telamon::bindings {
namespace {

using so3::features;

template <class T>
std::ptrdiff_t step(const py::array& a, int axis, const char* name) {
  check(a.strides(axis) % py::ssize_t(sizeof(T)) == 0,
        std::string(name) + " has strides that are no multiple of its item");
  return a.strides(axis) / py::ssize_t(sizeof(T));
}

template <class T>
void check_type(const py::array& a, int dimensions, const char* name) {
  check(py::isinstance<py::array_t<T>>(a), std::string(name) + " has another dtype than the others");
  check(a.ndim() == dimensions,
        std::string(name) + " has " + std::to_string(a.ndim()) + " dimensions, not " + std::to_string(dimensions));
}

template <class T>
features<const T> input(const py::array& a, const char* name) {
  check_type<T>(a, 3, name);
  return {static_cast<const T*>(a.data()), step<T>(a, 0, name), step<T>(a, 1, name), step<T>(a, 2, name)};
}
template <class T>
features<T> output(py::array& a, const char* name) {
  check_type<T>(a, 3, name);
  return {static_cast<T*>(a.mutable_data()), step<T>(a, 0, name), step<T>(a, 1, name), step<T>(a, 2, name)};
}
template <class T>
so3::vectors<const T> rows(const py::array& a, const char* name) {
  check_type<T>(a, 2, name);
  return {static_cast<const T*>(a.data()), step<T>(a, 0, name), step<T>(a, 1, name)};
}

int degree_of(py::ssize_t components, const char* name) {
  int l = 0;
  while (so3::components(l) < components) ++l;
  check(components > 0 && so3::components(l) == components,
        std::string(name) + " has " + std::to_string(components) + " components, which is no square");
  return l;
}

void check_shape(const py::array& a, std::vector<py::ssize_t> shape, const char* name) {
  check(a.ndim() == py::ssize_t(shape.size()), std::string(name) + " has a wrong number of dimensions");
  for (std::size_t i = 0; i < shape.size(); ++i) {
    check(a.shape(py::ssize_t(i)) == shape[i], std::string(name) + " has a wrong shape");
  }
}

so3::kind kind_of(const std::string& name) {
  if (name == "even") return so3::kind::even;
  if (name == "odd") return so3::kind::odd;
  if (name == "sum") return so3::kind::sum;
  check(name == "complete", "kind is '" + name + "'");
  return so3::kind::complete;
}
so3::method method_of(const std::string& name) {
  if (name == "auto") return so3::method::automatic;
  if (name == "sparse") return so3::method::sparse;
  if (name == "grid") return so3::method::grid;
  check(name == "fourier", "method is '" + name + "'");
  return so3::method::fourier;
}

template <class T>
so3::degree_weights<T> weights(const std::optional<py::array>& w, int lmax, py::ssize_t channels, const char* name) {
  if (!w) return {};
  check_type<T>(*w, 2, name);
  check_shape(*w, {lmax + 1, channels}, name);
  return {static_cast<const T*>(w->data()), step<T>(*w, 0, name), step<T>(*w, 1, name)};
}

void product(const py::array& x, const py::array& y, py::array out, std::optional<py::array> odd,
             const std::string& kind, const std::string& method, bool accumulate, const std::optional<py::array>& w1,
             const std::optional<py::array>& w2, const std::optional<py::array>& w3) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    const features<const T> fx = input<T>(x, "x"), fy = input<T>(y, "y");
    const features<T> fz = output<T>(out, "out");
    const int l1 = degree_of(x.shape(1), "x"), l2 = degree_of(y.shape(1), "y"), l3 = degree_of(out.shape(1), "out");
    const py::ssize_t n = out.shape(0), c = out.shape(2);
    check_shape(x, {n, x.shape(1), c}, "x");
    check_shape(y, {n, y.shape(1), c}, "y");
    so3::product_options<T> options;
    options.which = kind_of(kind), options.how = method_of(method), options.accumulate = accumulate;
    options.x = weights<T>(w1, l1, c, "w1"), options.y = weights<T>(w2, l2, c, "w2");
    options.out = weights<T>(w3, l3, c, "w3");
    features<T> fodd;
    check((options.which == so3::kind::complete) == odd.has_value(), "out_odd belongs to kind 'complete'");
    if (odd) {
      fodd = output<T>(*odd, "out_odd");
      check_shape(*odd, {n, out.shape(1), c}, "out_odd");
    }
    py::gil_scoped_release release;
    so3::gaunt_product(l1, l2, l3, fx, fy, fz, fodd, std::size_t(n), std::size_t(c), options);
  });
}

// An array (samples, components, channels) of someone else: address, components, and the steps in elements.
using described = std::tuple<std::uintptr_t, py::ssize_t, std::ptrdiff_t, std::ptrdiff_t, std::ptrdiff_t>;

template <class T>
features<T> features_of(const described& a) {
  const auto [address, k, sample, component, channel] = a;
  return {reinterpret_cast<T*>(address), sample, component, channel};
}

template <class T>
void products_at(const std::string& kind, const std::string& method, std::size_t samples, std::size_t channels,
                 const std::vector<std::tuple<described, described, described>>& all) {
  so3::product_options<T> options;
  options.which = kind_of(kind), options.how = method_of(method);
  for (const auto& [x, y, out] : all) {
    const int l1 = degree_of(std::get<1>(x), "x"), l2 = degree_of(std::get<1>(y), "y");
    const int l3 = degree_of(std::get<1>(out), "out");
    so3::gaunt_product(l1, l2, l3, features_of<const T>(x), features_of<const T>(y), features_of<T>(out), {}, samples,
                       channels, options);
  }
}

// Several products in one call that takes addresses: PyTorch's tensors get here in half the time that it takes to make
// arrays of them. The caller answers for what stands there.
void product_at(bool is_double, const std::string& kind, const std::string& method, std::size_t samples,
                std::size_t channels, const std::vector<std::tuple<described, described, described>>& all) {
  check(kind != "complete", "kind is 'complete'");
  py::gil_scoped_release release;
  is_double ? products_at<double>(kind, method, samples, channels, all)
            : products_at<float>(kind, method, samples, channels, all);
}

void monomial(const std::vector<py::array>& factors, const std::vector<int>& powers, py::array out, bool accumulate) {
  check(factors.size() == powers.size(), "as many powers as factors");
  by_type(out, [&](auto zero) {
    using T = decltype(zero);
    const features<T> fz = output<T>(out, "out");
    const int lmax = degree_of(out.shape(1), "out");
    std::vector<so3::factor<T>> all;
    for (std::size_t k = 0; k < factors.size(); ++k) {
      check_shape(factors[k], {out.shape(0), factors[k].shape(1), out.shape(2)}, "a factor");
      all.push_back({degree_of(factors[k].shape(1), "a factor"), powers[k], input<T>(factors[k], "a factor")});
    }
    const std::size_t n = std::size_t(out.shape(0)), c = std::size_t(out.shape(2));
    py::gil_scoped_release release;
    so3::gaunt_monomial(span<const so3::factor<T>>(all.data(), all.size()), lmax, fz, accumulate, n, c);
  });
}

const std::int64_t* indices(const std::optional<py::array_t<std::int64_t, py::array::c_style>>& a, py::ssize_t edges,
                            py::ssize_t limit, const char* name) {
  if (!a) return nullptr;
  check(a->ndim() == 1 && a->shape(0) == edges, std::string(name) + " must have one number an edge");
  for (py::ssize_t e = 0; e < edges; ++e) {
    check(0 <= a->data()[e] && a->data()[e] < limit, std::string(name) + " has a number out of range");
  }
  return a->data();
}

void conv(const py::array& x, const py::array& directions, const py::array& w, py::array out,
          const std::optional<py::array_t<std::int64_t, py::array::c_style>>& senders,
          const std::optional<py::array_t<std::int64_t, py::array::c_style>>& receivers) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    so3::edge_list<T> edges;
    const features<const T> fx = input<T>(x, "x");
    const features<T> fz = output<T>(out, "out");
    edges.directions = rows<T>(directions, "directions"), edges.weights = input<T>(w, "w");
    const py::ssize_t n = directions.shape(0), c = out.shape(2);
    const int l1 = degree_of(x.shape(1), "x"), l2 = int(w.shape(1)) - 1, l3 = degree_of(out.shape(1), "out");
    check_shape(directions, {n, 3}, "directions");
    check_shape(w, {n, w.shape(1), c}, "w");
    check(x.shape(2) == c, "x and out must have as many channels");
    check(senders || x.shape(0) == n, "x must have one row an edge, or senders be given");
    check(receivers || out.shape(0) == n, "out must have one row an edge, or receivers be given");
    edges.edges = std::size_t(n), edges.outputs = std::size_t(out.shape(0));
    edges.senders = indices(senders, n, x.shape(0), "senders");
    edges.receivers = indices(receivers, n, out.shape(0), "receivers");
    py::gil_scoped_release release;
    so3::gaunt_conv(l1, l2, l3, fx, edges, fz, std::size_t(c));
  });
}

py::tuple coefficients(int l1, int l2, int l3, const std::string& kind) {
  const std::vector<so3::coefficient> all = so3::coefficients(l1, l2, l3, kind_of(kind));
  const auto n = py::ssize_t(all.size());
  py::array_t<std::int64_t> i(n), j(n), k(n);
  py::array_t<double> value(n);
  for (py::ssize_t e = 0; e < n; ++e) {
    const so3::coefficient& c = all[std::size_t(e)];
    i.mutable_at(e) = c.i, j.mutable_at(e) = c.j, k.mutable_at(e) = c.k, value.mutable_at(e) = c.value;
  }
  return py::make_tuple(i, j, k, value);
}

void harmonics(const py::array& r, py::array out, bool normalize) {
  by_type(r, [&](auto zero) {
    using T = decltype(zero);
    check_type<T>(out, 2, "out");
    check_shape(r, {r.shape(0), 3}, "r");
    check_shape(out, {r.shape(0), out.shape(1)}, "out");
    const int lmax = degree_of(out.shape(1), "out");
    const so3::vectors<const T> from = rows<T>(r, "r");
    const so3::vectors<T> to{static_cast<T*>(out.mutable_data()), step<T>(out, 0, "out"), step<T>(out, 1, "out")};
    const auto n = std::size_t(r.shape(0));
    py::gil_scoped_release release;
    normalize ? so3::spherical_harmonics(lmax, from, to, n) : so3::solid_harmonics(lmax, from, to, n);
  });
}

template <class T>
const T* rotations(const py::array& r, const char* name) {
  check_type<T>(r, 3, name);
  check_shape(r, {r.shape(0), 3, 3}, name);
  check((r.flags() & py::array::c_style) != 0, std::string(name) + " must be contiguous");
  return static_cast<const T*>(r.data());
}

void wigner(const py::array& r, py::array out, int l) {
  by_type(r, [&](auto zero) {
    using T = decltype(zero);
    const T* from = rotations<T>(r, "R");
    check_type<T>(out, 3, "out");
    check_shape(out, {r.shape(0), 2 * l + 1, 2 * l + 1}, "out");
    check((out.flags() & py::array::c_style) != 0, "out must be contiguous");
    T* to = static_cast<T*>(out.mutable_data());
    const auto n = std::size_t(r.shape(0));
    py::gil_scoped_release release;
    so3::wigner_d(l, from, to, n);
  });
}

void rotate(const py::array& r, const py::array& x, py::array out, bool transposed) {
  by_type(r, [&](auto zero) {
    using T = decltype(zero);
    const T* from = rotations<T>(r, "R");
    const features<const T> fx = input<T>(x, "x");
    const features<T> fz = output<T>(out, "out");
    check_shape(x, {r.shape(0), x.shape(1), x.shape(2)}, "x");
    check_shape(out, {x.shape(0), x.shape(1), x.shape(2)}, "out");
    const int lmax = degree_of(x.shape(1), "x");
    const auto n = std::size_t(x.shape(0)), c = std::size_t(x.shape(2));
    py::gil_scoped_release release;
    so3::rotate(lmax, from, transposed, fx, fz, n, c);
  });
}

}  // namespace

bool bind_so3(PyObject* module) {
  py::module_ m = py::reinterpret_borrow<py::module_>(module);
  m.def("so3_product", &product, py::arg("x"), py::arg("y"), py::arg("out"), py::arg("out_odd"), py::arg("kind"),
        py::arg("method"), py::arg("accumulate") = false, py::arg("w1") = py::none(), py::arg("w2") = py::none(),
        py::arg("w3") = py::none());
  m.def("so3_product_at", &product_at, py::arg("is_double"), py::arg("kind"), py::arg("method"), py::arg("samples"),
        py::arg("channels"), py::arg("products"));
  m.def("so3_monomial", &monomial, py::arg("factors"), py::arg("powers"), py::arg("out"),
        py::arg("accumulate") = false);
  m.def("so3_conv", &conv, py::arg("x"), py::arg("directions"), py::arg("w"), py::arg("out"), py::arg("senders"),
        py::arg("receivers"));
  m.def("so3_coefficients", &coefficients, py::arg("l1"), py::arg("l2"), py::arg("l3"), py::arg("kind") = "even");
  m.def("so3_harmonics", &harmonics, py::arg("r"), py::arg("out"), py::arg("normalize") = false);
  m.def("so3_wigner", &wigner, py::arg("R"), py::arg("out"), py::arg("l"));
  m.def("so3_rotate", &rotate, py::arg("R"), py::arg("x"), py::arg("out"), py::arg("transposed") = false);
  return true;
}

}  // namespace telamon::bindings
