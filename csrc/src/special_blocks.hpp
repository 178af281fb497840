// How the special functions run over arrays: in blocks that stay in the first two levels of cache. A block is sorted by
// regime; each regime present is evaluated as one vectorised loop over its elements, gathered side by side.
#pragma once

#include <telamon/core/error.hpp>
#include <telamon/core/span.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/special.hpp>
#include <telamon/special/bessel.hpp>

#include "multiversion.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace telamon::special::blocks {

using detail::float_tiers;

// Long blocks, so that the rare regimes of a block fill their vectors; all of a block's arrays stay below 256 kB.
template <class F, class T>
inline constexpr std::size_t block_of = (F::outputs <= 2 ? 16384 : 8192) / sizeof(T);

// Groups are padded to what a turn of the vectorised loops takes at most: two vectors of 32 bytes.
template <class T>
constexpr std::size_t padded(std::size_t n) {
  constexpr std::size_t lanes = 64 / sizeof(T);
  return (n + lanes - 1) / lanes * lanes;
}

// A kernel is one long chain of dependent operations, so a single vector in flight leaves the processor waiting. GCC
// takes as many elements a turn as fit a vector of the loop's narrowest type, working through them statement by
// statement: storing a number of half the size beside the results makes it carry two vectors at once. With four the
// polynomials of the panels run out of registers.
template <class T>
using marker = std::conditional_t<sizeof(T) == 8, int, short>;

// Keeps the stores above from being removed.
inline void keep(const void* p) {
#if defined(__GNUC__)
  asm volatile("" : : "r"(p) : "memory");
#else
  static_cast<void>(p);
#endif
}

// ---- one regime, n padded; output k starts at out + k * block
TELAMON_MULTIVERSION_TEMPLATE(group, (class F, int R, std::size_t Block, class T),
                              (const T* v, const T* x, T* out, std::size_t n), {
                                marker<T> marks[Block];
                                TELAMON_SIMD
                                for (std::size_t i = 0; i < n; ++i) {
                                  marks[i] = marker<T>(i);
                                  const auto r = F::template eval<arch, R>(v[i], x[i]);
                                  constexpr int outputs =
                                      sizeof(r.at) /
                                      sizeof(T);  // spelt out: an array indexed by a loop stays in memory
                                  out[i] = r.at[0];
                                  if constexpr (outputs > 1) out[Block + i] = r.at[1];
                                  if constexpr (outputs > 2) out[2 * Block + i] = r.at[2];
                                  if constexpr (outputs > 3) out[3 * Block + i] = r.at[3];
                                  if constexpr (outputs > 4) out[4 * Block + i] = r.at[4];
                                }
                                keep(marks);
                              })
TELAMON_MULTIVERSION_TEMPLATE(classify, (class F, class T),
                              (const T* v, const T* x, std::uint8_t* regime, std::size_t n), {
                                TELAMON_SIMD
                                for (std::size_t i = 0; i < n; ++i) regime[i] = std::uint8_t(F::sort(v[i], x[i]));
                              })

template <class T>
using group_function = void (*)(const T* v, const T* x, T* out, std::size_t n);

// order[0, n) becomes the elements pick(0), ..., pick(n - 1) sorted by regime, those of r from start[r] to start[r +
// 1]. In eight interleaved parts, since a single one would wait on its own counters.
template <int Regimes, class Pick>
void sort_by_regime(const std::uint8_t* regime, Pick pick, std::size_t n, std::uint16_t* order, std::uint32_t* start) {
  constexpr std::size_t parts = 8;
  std::uint32_t next[parts][Regimes] = {};
  const std::size_t length = n / parts;
  const auto visit = [&](auto each) {
    for (std::size_t i = 0; i < length; ++i) {
      TELAMON_UNROLL
      for (std::size_t p = 0; p < parts; ++p) each(next[p], pick(p * length + i));
    }
    for (std::size_t i = parts * length; i < n; ++i) each(next[parts - 1], pick(i));
  };
  visit([&](std::uint32_t* counts, std::size_t i) { ++counts[regime[i]]; });
  std::uint32_t total = 0;
  for (int r = 0; r < Regimes; ++r) {
    start[r] = total;
    for (std::size_t p = 0; p < parts; ++p) {
      const std::uint32_t count = next[p][r];
      next[p][r] = total, total += count;
    }
  }
  start[Regimes] = total;
  visit([&](std::uint32_t* places, std::size_t i) { order[places[regime[i]]++] = std::uint16_t(i); });
}

// A set of regimes: Set::sort, Set::classify and Set::run<Which...>(regime, v, x, out, n), n the true length; v and x
// are padded. The last regime is slow, and evaluated on its own elements only. Which are the outputs wanted.
template <class Set, int... Which, class T>
void run_block(const T* v, const T* x, T* out, std::size_t n) {
  constexpr int regimes = Set::regimes, slow = regimes - 1;
  constexpr std::size_t block = block_of<Set, T>;
  alignas(64) std::uint8_t regime[block];
  classify<Set, T>::run(v, x, regime, padded<T>(n));
  bool unsorted = false;
  for (std::size_t i = 0; i < n; ++i) unsorted |= regime[i] >= regimes;
  if (unsorted)
    for (std::size_t i = 0; i < n; ++i)
      if (regime[i] >= regimes) regime[i] = std::uint8_t(Set::classify(v[i], x[i]));

  // Where nearly all belong to one regime the whole block is computed by it in place, and the others afterwards again.
  std::uint16_t order[block];
  std::uint32_t start[regimes + 1];
  const int most = regime[n / 2];
  std::size_t same = 0;
  for (std::size_t i = 0; i < n; ++i) same += regime[i] == most;
  if (same == n || (most != slow && same * 8 >= n * 7)) {
    Set::template run<Which...>(most, v, x, out, n);
    if (same == n) return;
    std::uint16_t rest[block];
    std::size_t left = 0;
    const std::uint64_t eight_times = 0x0101010101010101u * std::uint64_t(most);
    for (std::size_t i = 0; i < n; i += 8) {
      std::uint64_t eight;
      std::memcpy(&eight, regime + i, sizeof eight);
      if (eight == eight_times) continue;
      for (std::size_t j = i; j < std::min(i + 8, n); ++j)
        if (regime[j] != most) rest[left++] = std::uint16_t(j);
    }
    sort_by_regime<regimes>(regime, [&](std::size_t i) { return std::size_t(rest[i]); }, left, order, start);
  } else {
    sort_by_regime<regimes>(regime, [](std::size_t i) { return i; }, n, order, start);
  }
  alignas(64) T gv[block], gx[block], gathered[Set::outputs * block];
  for (int r = 0; r < regimes; ++r) {
    const std::size_t m = start[r + 1] - start[r];
    if (m == 0) continue;
    const std::uint16_t* index = order + start[r];
    for (std::size_t i = 0; i < m; ++i) gv[i] = v[index[i]], gx[i] = x[index[i]];
    for (std::size_t i = m; i < padded<T>(m); ++i) gv[i] = gv[0], gx[i] = gx[0];
    Set::template run<Which...>(r, gv, gx, gathered, m);
    const auto scatter = [&](T* to, const T* from) {
      for (std::size_t i = 0; i < m; ++i) to[index[i]] = from[i];
    };
    (scatter(out + Which * block, gathered + Which * block), ...);
  }
}

template <class F, int R, std::size_t Block, class T>
void run_group(const T* v, const T* x, T* out, std::size_t n) {
  group<F, R, Block, T>::run(v, x, out, padded<T>(n));
}

// The kernels of Debye's regimes for the outputs wanted, where F has shorter ones, and where their first output
// belongs.
template <class F, class Wanted, class = void>
struct shorter {
  using type = F;
  static constexpr int first = 0;
};
template <class F, int... Which>
struct shorter<F, std::integer_sequence<int, Which...>,
               std::enable_if_t<!std::is_void_v<typename F::template only<Which...>>>> {
  using type = typename F::template only<Which...>;
  static constexpr int first = std::is_same_v<type, typename F::plain> ? 0 : F::scaled_output;
};

template <class F, int R, class T, class Wanted>
constexpr group_function<T> group_for() {
  using G = std::conditional_t<R <= detail::extreme, typename shorter<F, Wanted>::type, F>;
  if constexpr (sizeof(T) == 8)
    return &run_group<G, R, block_of<F, T>, T>;
  else
    return &run_group<typename G::single, R, block_of<F, T>, T>;
}

template <class F, class = void>
struct has_small_orders : std::false_type {};
template <class F>
struct has_small_orders<F, std::enable_if_t<F::small_orders>> : std::true_type {};
template <class F>
std::size_t run_small_orders(const double* v, const double* x, double* out, std::size_t n, std::uint16_t* others);

template <class F, class = std::make_integer_sequence<int, F::regimes - 1>>
struct double_set;
template <class F, int... R>
struct double_set<F, std::integer_sequence<int, R...>> : F {
  static_assert(F::edge_regime == F::regimes - 1);

  template <int... Which>
  static void run(int regime, const double* v, const double* x, double* out, std::size_t n) {
    using wanted = std::integer_sequence<int, Which...>;
    static constexpr group_function<double> table[] = {group_for<F, R, double, wanted>()...};
    constexpr std::size_t first = shorter<F, wanted>::first * block_of<F, double>;
    if (regime != F::edge_regime) return table[regime](v, x, out + (regime <= detail::extreme ? first : 0), n);
    const auto edge = [&](std::size_t i) {
      const auto r = F::template eval<native_arch, F::edge_regime>(v[i], x[i]);
      ((out[Which * block_of<F, double> + i] = r.at[Which]), ...);
    };
    if constexpr (has_small_orders<F>::value) {
      std::uint16_t others[block_of<F, double>];
      const std::size_t left = run_small_orders<F>(v, x, out, n, others);
      for (std::size_t k = 0; k < left; ++k) edge(others[k]);
    } else {
      for (std::size_t i = 0; i < n; ++i) edge(i);
    }
  }
};

// log I and its first derivatives where the one in the order needs K as well: everything else is as for larger orders.
template <class F>
struct regular_set : double_set<F> {
  static TELAMON_INLINE int classify(double v, double x) { return detail::classify<detail::kind::i>(v, x); }
  static TELAMON_INLINE int sort(double v, double x) { return detail::sort<detail::kind::i>(v, x); }
};

// Those of n elements that have a small order; the indices of the others and their number are returned.
template <class F>
std::size_t run_small_orders(const double* v, const double* x, double* out, std::size_t n, std::uint16_t* others) {
  using log_k = detail::paired_bessel<detail::kind::k, 1>;
  constexpr std::size_t block = block_of<F, double>;
  alignas(64) double sv[block], sx[block], i[F::outputs * block], k[log_k::outputs * block];
  std::uint16_t index[block];
  std::size_t m = 0, left = 0;
  for (std::size_t e = 0; e < n; ++e) {
    if (detail::is_small_order(v[e], x[e]))
      sv[m] = v[e], sx[m] = x[e], index[m++] = std::uint16_t(e);
    else
      others[left++] = std::uint16_t(e);
  }
  if (m == 0) return left;
  for (std::size_t e = m; e < padded<double>(m); ++e) sv[e] = sv[0], sx[e] = sx[0];
  run_block<regular_set<F>, 0, 1, 2, 3, 4>(sv, sx, i, m);
  run_block<double_set<log_k>, 1, 3>(sv, sx, k, m);
  for (std::size_t e = 0; e < m; ++e) {
    const double ratio = detail::k_over_i(sx[e], k[3 * block + e], i[3 * block + e]);
    i[block + e] = detail::i_slope_small_order(sv[e], sx[e], ratio, k[block + e]);
    for (int o = 0; o < F::outputs; ++o) out[o * block + index[e]] = i[o * block + e];
  }
  return left;
}

// Elements outside the single-precision tiers are computed in double and rounded once.
template <class F, int... Which>
void run_wide(const float* v, const float* x, float* out, std::size_t n) {
  constexpr std::size_t block = block_of<F, double>;
  alignas(64) double wv[block], wx[block], w[F::outputs * block];
  for (std::size_t begin = 0; begin < n; begin += block) {
    const std::size_t m = std::min(n - begin, block);
    for (std::size_t i = 0; i < padded<double>(m); ++i) wv[i] = v[begin + i], wx[i] = x[begin + i];
    run_block<double_set<F>, Which...>(wv, wx, w, m);
    const auto round = [&](float* to, const double* from) {
      for (std::size_t i = 0; i < m; ++i) to[i] = float(from[i]);
    };
    (round(out + Which * block_of<F, float> + begin, w + Which * block), ...);
  }
}

template <class F, class = std::make_integer_sequence<int, float_tiers>>
struct float_set;
template <class F, int... R>
struct float_set<F, std::integer_sequence<int, R...>> : F::single {
  static constexpr int outputs = F::outputs, regimes = float_tiers + 1;

  template <int... Which>
  static void run(int regime, const float* v, const float* x, float* out, std::size_t n) {
    using wanted = std::integer_sequence<int, Which...>;
    static constexpr group_function<float> table[] = {group_for<F, R, float, wanted>()...};
    if (regime != float_tiers)
      table[regime](v, x, out + shorter<F, wanted>::first * block_of<F, float>, n);
    else
      run_wide<F, Which...>(v, x, out, n);
  }
};

// Output Which... of a function that has regimes, for a block of either type.
template <class F>
struct by_regime {
  static constexpr int outputs = F::outputs;
  template <int... Which>
  static void run(const double* v, const double* x, double* out, std::size_t n) {
    run_block<double_set<F>, Which...>(v, x, out, n);
  }
  template <int... Which>
  static void run(const float* v, const float* x, float* out, std::size_t n) {
    if constexpr (F::single::has_float)
      run_block<float_set<F>, Which...>(v, x, out, n);
    else
      run_wide<F, Which...>(v, x, out, n);
  }
};

// A function evaluated element by element, for what is not worth a copy of the code per regime and instruction set.
template <class F>
struct one_by_one {
  static constexpr int outputs = F::outputs;
  template <int... Which, class T>
  static void run(const T* v, const T* x, T* out, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) {
      const auto r = detail::evaluate<F>(double(v[i]), double(x[i]));
      ((out[Which * block_of<F, T> + i] = T(r.at[Which])), ...);
    }
  }
};

// ---- arrays
template <class T>
void load(strided<const T> from, T* to, std::size_t n) {
  if (from.contiguous()) {
    std::copy_n(from.data, n, to);
  } else {
    for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
  }
  for (std::size_t i = n; i < padded<T>(n); ++i) to[i] = to[0];
}
template <class T>
void store(const T* from, strided<T> to, std::size_t n) {
  if (to.contiguous()) {
    std::copy_n(from, n, to.data);
  } else {
    for (std::size_t i = 0; i < n; ++i) to[i] = from[i];
  }
}

// Which[k] names the output of Block that goes to the k-th destination.
template <class Block, int... Which, class T>
void run_strided(strided<const T> v, strided<const T> x, const strided<T>* out, std::size_t n) {
  constexpr std::size_t block = block_of<Block, T>;
  alignas(64) T bv[block], bx[block], result[Block::outputs * block];
  for (std::size_t begin = 0; begin < n; begin += block) {
    const std::size_t m = n - begin < block ? n - begin : block;
    load(v.from(begin), bv, m);
    load(x.from(begin), bx, m);
    Block::template run<Which...>(bv, bx, result, m);
    const strided<T>* to = out;
    (store(result + Which * block, (to++)->from(begin), m), ...);
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
