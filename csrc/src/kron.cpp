// Products along the axes of a grid: which factor when, in how large pieces, and by whom.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "blas.hpp"
#include "kron_axis.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

namespace telamon::kron {
namespace {

using namespace detail;

constexpr std::size_t merged_size = 16;      // neighbours are multiplied out up to this many rows and columns
constexpr std::size_t own_size = 200;        // up to here our loops are as fast as a good BLAS, or faster
constexpr std::size_t slab_bytes = 1 << 18;  // what several axes work on together, in the second level of cache
constexpr double flops_worth_a_thread = 2e5;

template <class T>
struct stage {
  packed_factor<T> a;
  matrix<T> whole;          // for BLAS, when the factor is large
  std::size_t axis, right;  // right: of the view (left, n, right) when its turn comes
  std::size_t rows() const { return whole.rows; }
  std::size_t columns() const { return whole.columns; }
  bool square() const { return whole.rows == whole.columns; }
  bool own() const { return std::max(whole.rows, whole.columns) <= own_size; }
};

TELAMON_MULTIVERSION_TEMPLATE(columns_loop, (class T),
                              (const packed_factor<T>& a, const T* x, T* out, std::size_t right, std::size_t first,
                               std::size_t last, T* memory),
                              { apply_columns<arch>(a, x, out, right, first, last, memory); })
TELAMON_MULTIVERSION_TEMPLATE(rows_loop, (class T),
                              (const packed_factor<T>& a, const T* x, T* out, std::size_t first, std::size_t last,
                               T* memory),
                              { apply_rows<arch>(a, x, out, first, last, memory); })

template <class T>
std::size_t memory_of(const stage<T>& s) {  // in vectors
  return (std::max<std::size_t>(panels_at_once * panel<T>, 6) * s.columns() + lanes<T>::count - 1) / lanes<T>::count;
}

// Lines of x, out (left, n, right): those of the last axis are rows, others are columns.
template <class T>
void apply_lines(const stage<T>& s, const T* x, T* out, std::size_t first, std::size_t last, T* memory) {
  if (s.right == 1) {
    rows_loop<T>::run(s.a, x, out, first, last, memory);
  } else {
    columns_loop<T>::run(s.a, x, out, s.right, first, last, memory);
  }
}

template <class T>
void apply_own(const stage<T>& s, const T* x, T* out, std::size_t left) {
  const std::size_t lines = left * s.right, step = panels_at_once * panel<T>;
  const std::size_t grain = std::size_t(flops_worth_a_thread / (2.0 * double(s.rows() * s.columns()))) / step + 1;
  // In whole steps, so that no thread has a ragged end; where x is out a line is read before it is written.
  parallel_for((lines + step - 1) / step, grain, [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(memory_of(s));
    apply_lines(s, x, out, begin * step, std::min(lines, end * step), reinterpret_cast<T*>(memory.data()));
  });
}

// A run of stages on neighbouring axes, all square: one piece after the other goes through all of them while in cache.
template <class T>
void apply_slabs(const stage<T>* first, const stage<T>* last, const T* x, T* out, std::size_t slabs, std::size_t slab) {
  std::size_t memory_size = 0;
  double flops = 0;
  for (const stage<T>* s = first; s != last; ++s) {
    memory_size = std::max(memory_size, memory_of(*s));
    flops += 2.0 * double(slab) * double(s->columns());
  }
  parallel_for(slabs, std::size_t(flops_worth_a_thread / flops) + 1, [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(memory_size);
    for (std::size_t i = begin; i < end; ++i) {
      T* const to = out + i * slab;
      const T* from = x + i * slab;
      for (const stage<T>* s = first; s != last; ++s, from = to) {
        apply_lines(*s, from, to, 0, slab / s->columns(), reinterpret_cast<T*>(memory.data()));
      }
    }
  });
}

// Through BLAS. In place, a piece of x is copied first: one part in n of the work.
template <class T>
void apply_blas(const stage<T>& s, const T* x, T* out, std::size_t left) {
  const std::size_t n = s.columns(), m = s.rows(), right = s.right;
  const bool transposed = s.whole.column != 1;
  const std::size_t a_row = std::size_t(transposed ? s.whole.column : s.whole.row);
  const bool in_place = x == out;
  const std::size_t piece =
      in_place ? std::max<std::size_t>(64, (1 << 20) / n) : (std::size_t(1) << 30) / std::max(m, n);
  std::unique_ptr<T[]> copy(in_place ? new T[n * std::min(piece, right == 1 ? left : right)] : nullptr);
  if (right == 1) {
    for (std::size_t l = 0; l < left; l += piece) {
      const std::size_t count = std::min(piece, left - l);
      const T* from = x + l * n;
      if (in_place) std::copy_n(from, count * n, copy.get()), from = copy.get();
      blas::gemm(false, !transposed, count, m, n, T(1), from, n, s.whole.data, a_row, T(0), out + l * m, m);
    }
    return;
  }
  for (std::size_t l = 0; l < left; ++l) {
    for (std::size_t r = 0; r < right; r += piece) {
      const std::size_t count = std::min(piece, right - r);
      const T* from = x + l * n * right + r;
      std::size_t step = right;
      if (in_place) {
        for (std::size_t k = 0; k < n; ++k) std::copy_n(from + k * right, count, copy.get() + k * count);
        from = copy.get(), step = count;
      }
      blas::gemm(transposed, false, m, count, n, T(1), s.whole.data, a_row, from, step, T(0), out + l * m * right + r,
                 right);
    }
  }
}

// ---- the plan

// a (x) b, row by row.
template <class T>
std::vector<T> outer(const matrix<T>& a, const matrix<T>& b) {
  std::vector<T> c(a.rows * b.rows * a.columns * b.columns);
  T* to = c.data();
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t k = 0; k < b.rows; ++k) {
      for (std::size_t j = 0; j < a.columns; ++j) {
        for (std::size_t l = 0; l < b.columns; ++l) {
          *to++ = a.data[std::ptrdiff_t(i) * a.row + std::ptrdiff_t(j) * a.column] *
                  b.data[std::ptrdiff_t(k) * b.row + std::ptrdiff_t(l) * b.column];
        }
      }
    }
  }
  return c;
}

template <class T>
class plan {
 public:
  plan(span<const matrix<T>> factors, std::size_t batch, std::size_t columns) : batch_(batch), columns_(columns) {
    for (const matrix<T>& f : factors) {
      require(f.data != nullptr || f.rows == f.columns, "kron.matmul: an identity has ", f.rows, " rows and ",
              f.columns, " columns; pass a square one");
      require(f.data == nullptr || f.column == 1 || f.row == 1 || std::max(f.rows, f.columns) <= own_size,
              "kron.matmul: neither the rows nor the columns of a factor are contiguous; pass a contiguous copy");
      add(f);
    }
    // Two neighbours in the order of 1/n - 1/m, shrinking ones first, cost least; by exchange, so does the whole order.
    order_.resize(axes_.size());
    std::iota(order_.begin(), order_.end(), std::size_t(0));
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  }

  void run(const T* x, T* out) {
    std::vector<std::size_t> size;  // of each axis as it stands
    for (const matrix<T>& a : axes_) size.push_back(a.columns);
    std::vector<stage<T>> stages;
    std::size_t largest = 0;  // intermediate that does not fit in out
    bool square = true;
    for (std::size_t axis : order_) {
      const matrix<T>& a = axes_[axis];
      size[axis] = a.rows;
      square = square && a.rows == a.columns;
      largest = std::max(largest, total(size));
      if (a.data == nullptr) continue;
      stage<T> s{{}, a, axis, columns_};
      for (std::size_t i = axis + 1; i < size.size(); ++i) s.right *= size[i];
      if (s.own()) {
        s.a = packed_factor<T>(a);
        if (s.right == 1) s.a.pack_transposed();
      }
      stages.push_back(std::move(s));
    }
    require(square || x != out, "kron.matmul: out is x, and a factor is not square; pass another out");
    if (stages.empty()) {
      if (x != out) std::copy_n(x, total(size), out);
      return;
    }
    if (total(size) == 0) return;
    // Square stages work in place. Each other one changes between out and work, so that the last one ends in out; an
    // intermediate that is larger than the result takes the place of out.
    std::size_t changes = 0;
    for (const stage<T>& s : stages) changes += s.square() ? 0 : 1;
    std::unique_ptr<T[]> work(changes > 1 || (changes == 1 && stages.front().square()) ? new T[largest] : nullptr);
    const std::size_t result = total(size);
    std::unique_ptr<T[]> larger;
    for (std::size_t i = 0; i < size.size(); ++i) size[i] = axes_[i].columns;
    const T* from = x;
    for (std::size_t i = 0; i < stages.size();) {
      const std::size_t end = run_end(stages, i);
      if (!stages[i].square()) --changes;
      const std::size_t elements = total(size);
      T* to = changes % 2 == 0 ? out : work.get();
      if (to == out && elements / stages[i].columns() * stages[i].rows() > result) {
        if (!larger) larger.reset(new T[largest]);
        to = larger.get();
      }
      if (end - i > 1) {
        const std::size_t slab = slab_of(stages, i, end);
        apply_slabs(&stages[i], &stages[i] + (end - i), from, to, elements / slab, slab);
      } else {
        const stage<T>& s = stages[i];
        const std::size_t left = elements / (s.columns() * s.right);
        s.own() ? apply_own(s, from, to, left) : apply_blas(s, from, to, left);
        size[s.axis] = s.rows();
      }
      from = to, i = end;
    }
  }

 private:
  std::vector<matrix<T>> axes_;
  std::vector<std::unique_ptr<std::vector<T>>> merged_;
  std::vector<std::size_t> order_;
  std::size_t batch_, columns_;

  // As an axis of its own, or multiplied into the one before.
  void add(const matrix<T>& f) {
    if (!axes_.empty()) {
      matrix<T>& last = axes_.back();
      if (last.data == nullptr && f.data == nullptr) {
        last.rows *= f.rows, last.columns *= f.columns;
        return;
      }
      if (last.data != nullptr && f.data != nullptr && last.rows * f.rows <= merged_size &&
          last.columns * f.columns <= merged_size && f.rows * f.columns * last.rows * last.columns > 0) {
        merged_.push_back(std::make_unique<std::vector<T>>(outer(last, f)));
        const std::size_t columns = last.columns * f.columns;
        last = {merged_.back()->data(), last.rows * f.rows, columns, std::ptrdiff_t(columns), 1};
        return;
      }
    }
    axes_.push_back(f);
  }

  double key(std::size_t axis) const { return 1.0 / double(axes_[axis].columns) - 1.0 / double(axes_[axis].rows); }
  std::size_t total(const std::vector<std::size_t>& size) const {
    return std::accumulate(size.begin(), size.end(), batch_ * columns_, std::multiplies<>());
  }

  // The elements of consecutive pieces that are whole for the stages [i, end).
  std::size_t slab_of(const std::vector<stage<T>>& stages, std::size_t i, std::size_t end) const {
    std::size_t slab = 0;
    for (; i < end; ++i) slab = std::max(slab, stages[i].columns() * stages[i].right);
    return slab;
  }
  // Stages from i on that share a pass.
  std::size_t run_end(const std::vector<stage<T>>& stages, std::size_t i) const {
    std::size_t end = i;
    while (end < stages.size() && stages[end].square() && stages[end].own() &&
           slab_of(stages, i, end + 1) * sizeof(T) <= slab_bytes) {
      ++end;
    }
    return std::max(end, i + 1);
  }
};

}  // namespace

void matmul(span<const matrix<float>> factors, const float* x, float* out, std::size_t batch, std::size_t columns) {
  plan<float>(factors, batch, columns).run(x, out);
}
void matmul(span<const matrix<double>> factors, const double* x, double* out, std::size_t batch, std::size_t columns) {
  plan<double>(factors, batch, columns).run(x, out);
}

}  // namespace telamon::kron
