// How the special functions run over arrays: in blocks that stay in the first-level cache. A block is sorted by regime;
// each regime present is evaluated as one vectorised loop over its elements, gathered side by side.
#pragma once

#include <telamon/core/error.hpp>
#include <telamon/core/span.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/special.hpp>
#include <telamon/special/bessel.hpp>

#include "multiversion.hpp"

#include <cstdint>
#include <utility>

namespace telamon::special::blocks {

using detail::float_tiers;

inline constexpr std::size_t block = 512;
inline constexpr std::size_t lanes = 16;  // groups are padded to a multiple of any vector's length

constexpr std::size_t padded(std::size_t n) { return (n + lanes - 1) / lanes * lanes; }

// A kernel is one long chain of dependent operations, so a single vector in flight leaves the processor waiting. GCC
// takes as many elements a turn as fit a vector of the loop's narrowest type, working through them statement by
// statement: storing a Narrow beside the doubles makes it carry sizeof(T)/sizeof(Narrow) vectors at once. Four suit the
// short series; the long polynomials of the panels would run out of registers.
template <class F, int R>
using narrow = std::conditional_t<(R <= detail::extreme), short, int>;

// Keeps the stores above from being removed.
inline void keep(const void* p) {
#if defined(__GNUC__)
  asm volatile("" : : "r"(p) : "memory");
#else
  static_cast<void>(p);
#endif
}

// ---- one regime, n a multiple of `lanes`; output k starts at out + k * block
TELAMON_MULTIVERSION_TEMPLATE(group, (class F, int R, class T), (const T* v, const T* x, T* out, std::size_t n), {
  using marker = narrow<F, R>;
  marker marks[block];
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i) {
    marks[i] = marker(i);
    const auto r = F::template eval<arch, R>(v[i], x[i]);
    constexpr int outputs = sizeof(r.at) / sizeof(T);  // spelt out: an array indexed by a loop stays in memory
    out[i] = r.at[0];
    if constexpr (outputs > 1) out[block + i] = r.at[1];
    if constexpr (outputs > 2) out[2 * block + i] = r.at[2];
    if constexpr (outputs > 3) out[3 * block + i] = r.at[3];
    if constexpr (outputs > 4) out[4 * block + i] = r.at[4];
  }
  keep(marks);
})
TELAMON_MULTIVERSION_TEMPLATE(classify, (class F, class T), (const T* v, const T* x, int* regime, std::size_t n), {
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i) regime[i] = F::classify(v[i], x[i]);
})

template <class T>
using group_function = void (*)(const T* v, const T* x, T* out, std::size_t n);

// A set of regimes: classify<Set, T> and table[regime](v, x, out, n), n the true length; v and x are padded. The last
// regime is the one that is slow, and evaluated on its own elements only.
template <class Set, class T>
void run_block(const T* v, const T* x, T* out, std::size_t n) {
  constexpr int regimes = Set::regimes, slow = regimes - 1;
  alignas(64) int regime[block];
  classify<Set, T>::run(v, x, regime, padded(n));
  std::size_t count[regimes] = {};
  for (std::size_t i = 0; i < n; ++i) ++count[regime[i]];
  int most = 0;
  for (int r = 1; r < regimes; ++r)
    if (count[r] > count[most]) most = r;
  // Where nearly all belong to one regime the whole block is computed by it in place, and the others afterwards again.
  const bool in_place = count[most] == n || (most != slow && count[most] * 8 >= n * 7);
  if (in_place) {
    Set::table[most](v, x, out, n);
    if (count[most] == n) return;
  }
  std::size_t start[regimes], next[regimes], total = 0;
  for (int r = 0; r < regimes; ++r) start[r] = next[r] = total, total += count[r];
  std::uint16_t order[block];
  for (std::size_t i = 0; i < n; ++i) order[next[regime[i]]++] = std::uint16_t(i);
  alignas(64) T gv[block], gx[block], gathered[Set::outputs * block];
  for (int r = 0; r < regimes; ++r) {
    const std::size_t m = count[r];
    if (m == 0 || (in_place && r == most)) continue;
    const std::uint16_t* index = order + start[r];
    for (std::size_t i = 0; i < m; ++i) gv[i] = v[index[i]], gx[i] = x[index[i]];
    for (std::size_t i = m; i < padded(m); ++i) gv[i] = gv[0], gx[i] = gx[0];
    Set::table[r](gv, gx, gathered, m);
    for (int k = 0; k < Set::outputs; ++k)
      for (std::size_t i = 0; i < m; ++i) out[std::size_t(k) * block + index[i]] = gathered[std::size_t(k) * block + i];
  }
}

template <class F, int R, class T>
void run_group(const T* v, const T* x, T* out, std::size_t n) {
  group<F, R, T>::run(v, x, out, padded(n));
}

template <class F>
void run_edges(const double* v, const double* x, double* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto r = F::template eval<native_arch, F::edge_regime>(v[i], x[i]);
    for (int k = 0; k < F::outputs; ++k) out[std::size_t(k) * block + i] = r.at[k];
  }
}

template <class F, class = std::make_integer_sequence<int, F::regimes - 1>>
struct double_set;
template <class F, int... R>
struct double_set<F, std::integer_sequence<int, R...>> : F {
  static_assert(F::edge_regime == F::regimes - 1);
  static constexpr group_function<double> table[] = {&run_group<F, R, double>..., &run_edges<F>};
};

// Elements outside the single-precision tiers are computed in double and rounded once.
template <class F>
void run_wide(const float* v, const float* x, float* out, std::size_t n) {
  alignas(64) double wv[block] = {}, wx[block] = {}, w[F::outputs * block];
  for (std::size_t i = 0; i < padded(n); ++i) wv[i] = v[i], wx[i] = x[i];
  run_block<double_set<F>>(wv, wx, w, n);
  for (int k = 0; k < F::outputs; ++k)
    for (std::size_t i = 0; i < n; ++i) out[std::size_t(k) * block + i] = float(w[std::size_t(k) * block + i]);
}

template <class F, class = std::make_integer_sequence<int, float_tiers>>
struct float_set;
template <class F, int... R>
struct float_set<F, std::integer_sequence<int, R...>> : F::single {
  static constexpr int outputs = F::outputs, regimes = float_tiers + 1;
  static constexpr group_function<float> table[] = {&run_group<typename F::single, R, float>..., &run_wide<F>};
};

// A function that has regimes, for a block of either type.
template <class F>
struct by_regime {
  static constexpr int outputs = F::outputs;
  static void run(const double* v, const double* x, double* out, std::size_t n) {
    run_block<double_set<F>>(v, x, out, n);
  }
  static void run(const float* v, const float* x, float* out, std::size_t n) {
    if constexpr (F::single::has_float)
      run_block<float_set<F>>(v, x, out, n);
    else
      run_wide<F>(v, x, out, n);
  }
};

// A function evaluated element by element, for what is not worth a copy of the code per regime and instruction set.
template <class F>
struct one_by_one {
  static constexpr int outputs = F::outputs;
  template <class T>
  static void run(const T* v, const T* x, T* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto r = detail::evaluate<F>(double(v[i]), double(x[i]));
      for (int k = 0; k < outputs; ++k) out[std::size_t(k) * block + i] = T(r.at[k]);
    }
  }
};

// ---- arrays: Which[k] names the output of Block that goes to the k-th destination
template <class Block, int... Which, class T>
void run_strided(strided<const T> v, strided<const T> x, const strided<T>* out, std::size_t n) {
  alignas(64) T bv[block], bx[block], result[Block::outputs * block];
  for (std::size_t begin = 0; begin < n; begin += block) {
    const std::size_t m = n - begin < block ? n - begin : block;
    const strided<const T> sv = v.from(begin), sx = x.from(begin);
    for (std::size_t i = 0; i < m; ++i) bv[i] = sv[i];
    for (std::size_t i = 0; i < m; ++i) bx[i] = sx[i];
    for (std::size_t i = m; i < padded(m); ++i) bv[i] = bv[0], bx[i] = bx[0];
    Block::run(bv, bx, result, m);
    const strided<T>* to = out;
    (
        [&] {
          const strided<T> o = (to++)->from(begin);
          const T* from = result + std::size_t(Which) * block;
          for (std::size_t i = 0; i < m; ++i) o[i] = from[i];
        }(),
        ...);
  }
}

// Below this many elements a second thread costs more than it saves.
inline constexpr std::size_t grain = 8192;

template <class Block, int Which, class T>
void run_span(const char* name, span<const T> v, span<const T> x, span<T> out) {
  require(v.size() == out.size() && x.size() == out.size(), "special.", name, ": v has ", v.size(), " elements, x ",
          x.size(), ", out ", out.size(), "; pass spans of equal length");
  parallel_for(out.size(), grain, [&](std::size_t begin, std::size_t end) {
    const strided<T> to = strided<T>(out).from(begin);
    run_strided<Block, Which>(strided<const T>(v).from(begin), strided<const T>(x).from(begin), &to, end - begin);
  });
}

}  // namespace telamon::special::blocks

// The public array functions of one name: output Which of Block.
#define TELAMON_SPECIAL_DEFINE(T, name, Block, Which)                                \
  void name(strided<const T> v, strided<const T> x, strided<T> out, std::size_t n) { \
    blocks::run_strided<Block, Which>(v, x, &out, n);                                \
  }                                                                                  \
  void name(span<const T> v, span<const T> x, span<T> out) { blocks::run_span<Block, Which>(#name, v, x, out); }
#define TELAMON_SPECIAL_BOTH(name, Block, Which)     \
  TELAMON_SPECIAL_DEFINE(double, name, Block, Which) \
  TELAMON_SPECIAL_DEFINE(float, name, Block, Which)
#define TELAMON_SPECIAL_THREE_OF(T, name, Block, A, B, C)                                                      \
  void name(strided<const T> v, strided<const T> x, strided<T> a, strided<T> b, strided<T> c, std::size_t n) { \
    const strided<T> out[] = {a, b, c};                                                                        \
    blocks::run_strided<Block, A, B, C>(v, x, out, n);                                                         \
  }
#define TELAMON_SPECIAL_THREE(name, Block, A, B, C)      \
  TELAMON_SPECIAL_THREE_OF(double, name, Block, A, B, C) \
  TELAMON_SPECIAL_THREE_OF(float, name, Block, A, B, C)
