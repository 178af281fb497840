// The functions of telamon/quant.hpp on NumPy arrays. telamon.quant checks and shapes its arguments; here they are only
// checked as far as memory is at stake.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <telamon/quant.hpp>

#include "array.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace py = pybind11;

namespace telamon::bindings {
namespace {

struct layer {
  std::size_t rows, inputs, levels;
  layer(const py::array& weights, const py::array& codebooks) {
    check(weights.ndim() == 2 && codebooks.ndim() == 2, "weights and codebooks must have two dimensions");
    rows = std::size_t(weights.shape(0)), inputs = std::size_t(weights.shape(1));
    levels = std::size_t(codebooks.shape(1));
  }
};

void nearest(const py::array& weights, const py::array& codebooks, py::array codes) {
  const layer l(weights, codebooks);
  const float *w = input<float>(weights, {l.rows, l.inputs}, "weights"),
              *c = input<float>(codebooks, {l.rows, l.levels}, "codebooks");
  std::uint8_t* q = output<std::uint8_t>(codes, {l.rows, l.inputs}, "codes");
  const py::gil_scoped_release release;
  quant::nearest(l.rows, l.inputs, l.levels, w, c, q);
}

void kmeans(const py::array& weights, const std::optional<py::array>& importance, py::array codebooks,
            py::array codes) {
  const layer l(weights, codebooks);
  const float* w = input<float>(weights, {l.rows, l.inputs}, "weights");
  const double* m = importance ? input<double>(*importance, {l.inputs}, "importance") : nullptr;
  float* c = output<float>(codebooks, {l.rows, l.levels}, "codebooks");
  std::uint8_t* q = output<std::uint8_t>(codes, {l.rows, l.inputs}, "codes");
  const py::gil_scoped_release release;
  quant::kmeans(l.rows, l.inputs, l.levels, w, m, c, q);
}

void gptq(const py::array& weights, const py::array& u, const py::array& order, const py::array& codebooks,
          py::array codes) {
  const layer l(weights, codebooks);
  const float *w = input<float>(weights, {l.rows, l.inputs}, "weights"),
              *c = input<float>(codebooks, {l.rows, l.levels}, "codebooks");
  const double* factor = input<double>(u, {l.inputs, l.inputs}, "u");
  const std::int64_t* o = input<std::int64_t>(order, {l.inputs}, "order");
  check(std::all_of(o, o + l.inputs, [&](std::int64_t i) { return i >= 0 && std::size_t(i) < l.inputs; }),
        "order has an entry that is no input");
  std::uint8_t* q = output<std::uint8_t>(codes, {l.rows, l.inputs}, "codes");
  const py::gil_scoped_release release;
  quant::gptq(l.rows, l.inputs, l.levels, w, factor, o, c, q);
}

void check_codes(const std::uint8_t* q, std::size_t n, std::size_t levels) {
  check(std::all_of(q, q + n, [&](std::uint8_t code) { return code < levels; }),
        "codes has an entry beyond the levels");
}

void lnq(const py::array& weights, const py::array& h, py::array codebooks, py::array codes, int iterations, int cycles,
         bool half, py::array trace, py::array objectives) {
  const layer l(weights, codebooks);
  const float* w = input<float>(weights, {l.rows, l.inputs}, "weights");
  const double* hessian = input<double>(h, {l.inputs, l.inputs}, "h");
  float* c = output<float>(codebooks, {l.rows, l.levels}, "codebooks");
  std::uint8_t* q = output<std::uint8_t>(codes, {l.rows, l.inputs}, "codes");
  check_codes(q, l.rows * l.inputs, l.levels);
  check(iterations >= 0 && cycles >= 0, "iterations and cycles must not be negative");
  const quant::lnq_options options{iterations, cycles, half};
  double *steps = output<double>(trace, {std::size_t(quant::lnq_steps(options))}, "trace"),
         *each = output<double>(objectives, {l.rows}, "objectives");
  const py::gil_scoped_release release;
  quant::lnq(l.rows, l.inputs, l.levels, w, hessian, c, q, options, steps, each);
}

void objective(const py::array& weights, const py::array& h, const py::array& codebooks, const py::array& codes,
               py::array objectives) {
  const layer l(weights, codebooks);
  const float *w = input<float>(weights, {l.rows, l.inputs}, "weights"),
              *c = input<float>(codebooks, {l.rows, l.levels}, "codebooks");
  const double* hessian = input<double>(h, {l.inputs, l.inputs}, "h");
  const std::uint8_t* q = input<std::uint8_t>(codes, {l.rows, l.inputs}, "codes");
  check_codes(q, l.rows * l.inputs, l.levels);
  double* each = output<double>(objectives, {l.rows}, "objectives");
  const py::gil_scoped_release release;
  quant::objective(l.rows, l.inputs, l.levels, w, hessian, c, q, each);
}

void check_bits(int bits) { check(bits >= 1 && bits <= 8, "bits must be from 1 to 8"); }

void pack(const py::array& codes, int bits, py::array packed) {
  check_bits(bits);
  check(codes.ndim() == 2, "codes must have two dimensions");
  const std::size_t rows = std::size_t(codes.shape(0)), inputs = std::size_t(codes.shape(1));
  const std::uint8_t* q = input<std::uint8_t>(codes, {rows, inputs}, "codes");
  std::uint8_t* p = output<std::uint8_t>(packed, {rows, quant::row_bytes(inputs, bits)}, "packed");
  const py::gil_scoped_release release;
  quant::pack(rows, inputs, bits, q, p);
}

void unpack(const py::array& packed, int bits, py::array codes) {
  check_bits(bits);
  check(codes.ndim() == 2, "codes must have two dimensions");
  const std::size_t rows = std::size_t(codes.shape(0)), inputs = std::size_t(codes.shape(1));
  const std::uint8_t* p = input<std::uint8_t>(packed, {rows, quant::row_bytes(inputs, bits)}, "packed");
  std::uint8_t* q = output<std::uint8_t>(codes, {rows, inputs}, "codes");
  const py::gil_scoped_release release;
  quant::unpack(rows, inputs, bits, p, q);
}

quant::packed_matrix matrix(const py::array& packed, int bits, const py::array& codebooks, std::size_t group,
                            std::size_t inputs) {
  check_bits(bits);
  check(packed.ndim() == 2 && codebooks.ndim() == 3, "packed and codebooks must have two and three dimensions");
  quant::packed_matrix w;
  w.rows = std::size_t(packed.shape(0)), w.inputs = inputs, w.bits = bits, w.group = group;
  const std::size_t groups = group == 0 ? 1 : (inputs + group - 1) / group;
  w.codes = input<std::uint8_t>(packed, {w.rows, quant::row_bytes(inputs, bits)}, "packed");
  w.codebooks = input<float>(codebooks, {w.rows, groups, std::size_t(1) << bits}, "codebooks");
  return w;
}

void dequantize(const py::array& packed, int bits, const py::array& codebooks, std::size_t group, py::array out) {
  check(out.ndim() == 2, "out must have two dimensions");
  const quant::packed_matrix w = matrix(packed, bits, codebooks, group, std::size_t(out.shape(1)));
  float* to = output<float>(out, {w.rows, w.inputs}, "out");
  const py::gil_scoped_release release;
  quant::dequantize(w, to);
}

void matmul(const py::array& packed, int bits, const py::array& codebooks, std::size_t group, const py::array& x,
            py::array out, const std::string& precision) {
  check(x.ndim() == 2, "x must have two dimensions");
  check(precision == "exact" || precision == "fast", "precision is '" + precision + "'");
  const std::size_t batch = std::size_t(x.shape(0));
  const quant::packed_matrix w = matrix(packed, bits, codebooks, group, std::size_t(x.shape(1)));
  const float* from = input<float>(x, {batch, w.inputs}, "x");
  float* to = output<float>(out, {batch, w.rows}, "out");
  const py::gil_scoped_release release;
  quant::matmul(w, from, batch, to, precision == "fast" ? quant::precision::fast : quant::precision::exact);
}

void fwht(py::array x, double scale) {
  by_type(x, [&](auto zero) {
    using T = decltype(zero);
    check(x.ndim() == 2, "x must have two dimensions");
    const std::size_t rows = std::size_t(x.shape(0)), n = std::size_t(x.shape(1));
    T* p = output<T>(x, {rows, n}, "x");
    const py::gil_scoped_release release;
    quant::fwht(p, rows, n, T(scale));
  });
}

}  // namespace

bool bind_quant(PyObject* module) {
  py::module_ m = py::reinterpret_borrow<py::module_>(module);
  using namespace py::literals;
  m.def("quant_nearest", &nearest, "weights"_a, "codebooks"_a, "codes"_a);
  m.def("quant_kmeans", &kmeans, "weights"_a, "importance"_a, "codebooks"_a, "codes"_a);
  m.def("quant_gptq", &gptq, "weights"_a, "u"_a, "order"_a, "codebooks"_a, "codes"_a);
  m.def("quant_lnq", &lnq, "weights"_a, "h"_a, "codebooks"_a, "codes"_a, "iterations"_a, "cycles"_a, "half"_a,
        "trace"_a, "objectives"_a);
  m.def("quant_objective", &objective, "weights"_a, "h"_a, "codebooks"_a, "codes"_a, "objectives"_a);
  m.def("quant_pack", &pack, "codes"_a, "bits"_a, "packed"_a);
  m.def("quant_unpack", &unpack, "packed"_a, "bits"_a, "codes"_a);
  m.def("quant_dequantize", &dequantize, "packed"_a, "bits"_a, "codebooks"_a, "group"_a, "out"_a);
  m.def("quant_matmul", &matmul, "packed"_a, "bits"_a, "codebooks"_a, "group"_a, "x"_a, "out"_a,
        "precision"_a = "exact");
  m.def("quant_fwht", &fwht, "x"_a, "scale"_a = 1.0);
  return true;
}

}  // namespace telamon::bindings
