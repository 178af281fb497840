// One factor A (m, n) applied along one axis: x (left, n, right) -> out (left, m, right), for factors that fit in
// cache.
//
// A block of rows of A times 64 bytes of columns is summed in registers. Columns are all pairs (left, right). Where
// right is 1 the columns are far apart and the rows of x serve as the block instead, the columns of A' as the columns.
// What a block reads is copied before it writes, so out may be x where m = n. Every element is the same chain of n
// fused multiply-adds, whatever its place.
#pragma once

#include <telamon/kron.hpp>

#include "multiversion.hpp"
#include "simd.hpp"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace telamon::kron::detail {

using simd::lanes, simd::load, simd::scratch, simd::store, simd::vector;

template <class T>
inline constexpr int panel = 2 * lanes<T>::count;  // columns that are summed together: two vectors
inline constexpr int panels_at_once = 4;           // how many panels a block of rows of A is used for
template <class Arch>
inline constexpr int block_rows = Arch::fma ? 6 : 3;  // as many sums as there are registers for

// A factor in the orders in which the two loops read it.
template <class T>
class packed_factor {
 public:
  packed_factor() = default;
  explicit packed_factor(const matrix<T>& a) : rows(a.rows), columns(a.columns), a_(a.rows * a.columns) {
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        a_[i * columns + j] = a.data[std::ptrdiff_t(i) * a.row + std::ptrdiff_t(j) * a.column];
      }
    }
  }
  // For right = 1: A' in panels of columns, filled up with zeros.
  void pack_transposed() {
    const std::size_t width = panel<T>, count = (rows + width - 1) / width;
    panels_.assign(count * columns * width, T(0));
    for (std::size_t i = 0; i < rows; ++i) {
      for (std::size_t j = 0; j < columns; ++j) {
        panels_[(i / width * columns + j) * width + i % width] = a_[i * columns + j];
      }
    }
  }
  const T* data() const noexcept { return a_.data(); }
  const T* panels() const noexcept { return panels_.data(); }

  std::size_t rows = 0, columns = 0;

 private:
  std::vector<T> a_, panels_;
};

// sum[i] = sum_k a[i row + k] b[k], a panel of columns b.
template <int Rows, class T>
TELAMON_INLINE void multiply(std::size_t n, const T* a, std::size_t row, const T* b,
                             vector<T> (&sum)[Rows][2]) noexcept {
  for (std::size_t k = 0; k < n; ++k, b += panel<T>) {
    const vector<T> b0 = load(b), b1 = load(b + lanes<T>::count);
    TELAMON_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const T v = a[std::size_t(i) * row + k];
      sum[i][0] += v * b0, sum[i][1] += v * b1;
    }
  }
}

// Calls f(first row, number of rows as a type) for blocks of at most Most rows, as equal as can be.
template <int Most, class F>
TELAMON_INLINE void for_blocks(std::size_t rows, F f) {
  const std::size_t blocks = (rows + Most - 1) / Most, least = rows / blocks, longer = rows % blocks;
  std::size_t first = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t count = least + (b < longer ? 1 : 0);
    switch (count) {
      case 1:
        f(first, std::integral_constant<int, 1>());
        break;
      case 2:
        f(first, std::integral_constant<int, 2>());
        break;
      case 3:
        f(first, std::integral_constant<int, 3>());
        break;
      default:
        if constexpr (Most > 3) {
          switch (count) {
            case 4:
              f(first, std::integral_constant<int, 4>());
              break;
            case 5:
              f(first, std::integral_constant<int, 5>());
              break;
            case 6:
              f(first, std::integral_constant<int, 6>());
              break;
          }
        }
    }
    first += count;
  }
}

// The columns [first, last) of a panel: where each begins in x (left, n, right) and in out (left, m, right).
template <class T>
struct panel_columns {
  std::size_t in[panel<T>], out[panel<T>], count;
  bool together;  // side by side in memory

  panel_columns(std::size_t first, std::size_t last, std::size_t n, std::size_t m, std::size_t right)
      : count(std::min<std::size_t>(last - first, panel<T>)) {
    std::size_t l = first / right, r = first % right;
    together = count == panel<T> && r + count <= right;
    for (std::size_t i = 0; i < count; ++i) {
      in[i] = l * n * right + r, out[i] = l * m * right + r;
      if (++r == right) r = 0, ++l;
    }
  }
};

template <class T>
TELAMON_INLINE void pack_panel(const T* x, const panel_columns<T>& c, std::size_t n, std::size_t right, T* to) {
  if (c.together) {
    const T* from = x + c.in[0];
    for (std::size_t k = 0; k < n; ++k, from += right, to += panel<T>) {
      const vector<T> a = load(from), b = load(from + lanes<T>::count);
      store<T>(a, to), store<T>(b, to + lanes<T>::count);
    }
  } else {
    if (c.count < panel<T>) std::fill(to, to + n * panel<T>, T(0));
    for (std::size_t i = 0; i < c.count; ++i) {
      const T* from = x + c.in[i];
      for (std::size_t k = 0; k < n; ++k) to[k * panel<T> + i] = from[k * right];
    }
  }
}

template <int Rows, class T>
TELAMON_INLINE void unpack(const vector<T> (&sum)[Rows][2], const panel_columns<T>& c, std::size_t right,
                           std::size_t first, T* out) {
  if (c.together) {
    T* to = out + c.out[0] + first * right;
    TELAMON_UNROLL
    for (int i = 0; i < Rows; ++i, to += right) store<T>(sum[i][0], to), store<T>(sum[i][1], to + lanes<T>::count);
  } else {
    TELAMON_UNROLL
    for (int i = 0; i < Rows; ++i) {
      T row[panel<T>];
      store<T>(sum[i][0], row), store<T>(sum[i][1], row + lanes<T>::count);
      for (std::size_t j = 0; j < c.count; ++j) out[c.out[j] + (first + std::size_t(i)) * right] = row[j];
    }
  }
}

// The columns [first, last) of all (left, right). memory: panels_at_once panels of n.
template <class Arch, class T>
TELAMON_INLINE void apply_columns(const packed_factor<T>& a, const T* x, T* out, std::size_t right, std::size_t first,
                                  std::size_t last, T* memory) {
  const std::size_t n = a.columns, m = a.rows, step = panel<T>;
  for (; first < last; first += panels_at_once * step) {
    const int panels = int(std::min<std::size_t>(panels_at_once, (last - first + step - 1) / step));
    for (int p = 0; p < panels; ++p) {
      const panel_columns<T> c(first + std::size_t(p) * step, last, n, m, right);
      pack_panel(x, c, n, right, memory + std::size_t(p) * n * step);
    }
    for_blocks<block_rows<Arch>>(m, [&](std::size_t row, auto rows) TELAMON_INLINE_LAMBDA {
      for (int p = 0; p < panels; ++p) {
        vector<T> sum[decltype(rows)::value][2] = {};
        multiply(n, a.data() + row * n, n, memory + std::size_t(p) * n * step, sum);
        unpack(sum, panel_columns<T>(first + std::size_t(p) * step, last, n, m, right), right, row, out);
      }
    });
  }
}

// The rows [first, last) of x (left, n) for right = 1. memory: block_rows rows of n.
template <class Arch, class T>
TELAMON_INLINE void apply_rows(const packed_factor<T>& a, const T* x, T* out, std::size_t first, std::size_t last,
                               T* memory) {
  const std::size_t n = a.columns, m = a.rows, step = panel<T>;
  for_blocks<block_rows<Arch>>(last - first, [&](std::size_t row, auto rows) TELAMON_INLINE_LAMBDA {
    constexpr int count = decltype(rows)::value;
    std::copy_n(x + (first + row) * n, count * n, memory);
    for (std::size_t j = 0; j < m; j += step) {
      vector<T> sum[count][2] = {};
      multiply(n, static_cast<const T*>(memory), n, a.panels() + j * n, sum);
      T* to = out + (first + row) * m + j;
      TELAMON_UNROLL
      for (int i = 0; i < count; ++i, to += m) {
        if (j + step <= m) {
          store<T>(sum[i][0], to), store<T>(sum[i][1], to + lanes<T>::count);
        } else {
          T tail[panel<T>];
          store<T>(sum[i][0], tail), store<T>(sum[i][1], tail + lanes<T>::count);
          std::copy_n(tail, m - j, to);
        }
      }
    }
  });
}

}  // namespace telamon::kron::detail
