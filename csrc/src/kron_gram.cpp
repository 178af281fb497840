// Gram matrices along an axis, by BLAS on scaled panels.
#include <telamon/core/error.hpp>
#include <telamon/kron.hpp>

#include "blas.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace telamon::kron {
namespace {

constexpr std::size_t panel_elements = 1 << 15;  // of a copied, scaled panel: it stays in the second level of cache

// A tensor (batch, shape, columns) seen as (left, n, right) from one axis, and the scales of left and right.
template <class T>
struct view {
  std::size_t left = 1, right = 1;
  std::vector<T> left_scale, right_scale;  // empty: 1
  bool negative = false;

  view(span<const std::size_t> shape, std::size_t axis, span<const T* const> scales, std::size_t batch,
       std::size_t columns) {
    const bool scaled = !scales.empty();
    if (scaled) left_scale = right_scale = {T(1)};
    for (std::size_t i = 0; i < shape.size(); ++i) {
      if (i == axis) continue;
      (i < axis ? left : right) *= shape[i];
      if (scaled) multiply(i < axis ? left_scale : right_scale, scales[i], shape[i]);
    }
    if (scaled) {
      repeat(right_scale, columns);
      const std::vector<T> once = left_scale;
      for (std::size_t b = 1; b < batch; ++b) left_scale.insert(left_scale.end(), once.begin(), once.end());
    }
    left *= batch, right *= columns;
  }

 private:
  void multiply(std::vector<T>& product, const T* scale, std::size_t n) {
    std::vector<T> next;
    next.reserve(product.size() * n);
    for (T p : product) {
      for (std::size_t k = 0; k < n; ++k) next.push_back(p * scale[k]);
    }
    negative = negative || std::any_of(scale, scale + n, [](T s) { return !(s >= T(0)); });
    product.swap(next);
  }
  static void repeat(std::vector<T>& v, std::size_t times) {
    if (times == 1) return;
    std::vector<T> next;
    next.reserve(v.size() * times);
    for (T s : v) next.insert(next.end(), times, s);
    v.swap(next);
  }
};

// to[k * step] or, with right = 1, to[line * n + k] = x[line, k] scale: the lines [first, last) of all (left, right).
template <class T>
void copy_panel(const T* x, const view<T>& v, std::size_t n, std::size_t first, std::size_t last, bool scaled, T* to) {
  const std::size_t count = last - first;
  scaled = scaled && !v.left_scale.empty();
  if (v.right == 1) {
    for (std::size_t l = first; l < last; ++l, to += n) {
      const T s = scaled ? v.left_scale[l] * v.right_scale[0] : T(1);
      for (std::size_t k = 0; k < n; ++k) to[k] = s * x[l * n + k];
    }
    return;
  }
  for (std::size_t done = 0; done < count;) {
    const std::size_t l = (first + done) / v.right, r = (first + done) % v.right;
    const std::size_t some = std::min(count - done, v.right - r);
    for (std::size_t k = 0; k < n; ++k) {
      const T* const from = x + (l * n + k) * v.right + r;
      T* const row = to + k * count + done;
      if (scaled) {
        const T s = v.left_scale[l];
        const T* const scale = v.right_scale.data() + r;
        for (std::size_t i = 0; i < some; ++i) row[i] = s * scale[i] * from[i];
      } else {
        std::copy_n(from, some, row);
      }
    }
    done += some;
  }
}

template <class T>
void any_gram(span<const std::size_t> shape, std::size_t axis, const T* x, const T* y, std::size_t n,
              span<const T* const> scales, T* out, std::size_t batch, std::size_t columns) {
  require(axis < shape.size(), "kron.gram: axis is ", axis, ", the grid has ", shape.size(), " axes");
  require(scales.empty() || scales.size() == shape.size(), "kron.gram: there are ", scales.size(), " scales and ",
          shape.size(), " axes; pass one an axis, or none");
  const std::size_t m = shape[axis];
  view<T> v(shape, axis, scales, batch, columns);
  const bool same = y == nullptr;
  const bool symmetric = same && !v.negative;  // then both sides take the root of the scales
  if (same) y = x, n = m;
  std::fill_n(out, m * n, T(0));
  if (m * n == 0) return;
  if (symmetric) {
    for (T& s : v.left_scale) s = std::sqrt(s);
    for (T& s : v.right_scale) s = std::sqrt(s);
  }
  const std::size_t lines = v.left * v.right;
  const std::size_t step = std::max<std::size_t>(64, panel_elements / std::max(m, n));
  std::vector<T> px(m * std::min(step, lines)), py(symmetric ? 0 : n * std::min(step, lines));
  for (std::size_t first = 0; first < lines; first += step) {
    const std::size_t last = std::min(lines, first + step), count = last - first;
    const bool rows = v.right == 1;  // a line is a row of the panel, else a column
    copy_panel(x, v, m, first, last, true, px.data());
    if (symmetric) {
      blas::syrk(rows, m, count, px.data(), rows ? m : count, out, n);
    } else {
      copy_panel(y, v, n, first, last, false, py.data());
      blas::gemm(rows, !rows, m, n, count, T(1), px.data(), rows ? m : count, py.data(), rows ? n : count, T(1), out,
                 n);
    }
  }
  if (symmetric) {
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < i; ++j) out[i * n + j] = out[j * n + i];
    }
  }
}

}  // namespace

void gram(span<const std::size_t> shape, std::size_t axis, const float* x, const float* y, std::size_t n,
          span<const float* const> scales, float* out, std::size_t batch, std::size_t columns) {
  any_gram(shape, axis, x, y, n, scales, out, batch, columns);
}
void gram(span<const std::size_t> shape, std::size_t axis, const double* x, const double* y, std::size_t n,
          span<const double* const> scales, double* out, std::size_t batch, std::size_t columns) {
  any_gram(shape, axis, x, y, n, scales, out, batch, columns);
}

}  // namespace telamon::kron
