// Ratios of neighbouring orders and the inverse ratio.
#include "special_blocks.hpp"

namespace telamon::special {

namespace names = detail::names;

TELAMON_SPECIAL_BOTH(iv_ratio, blocks::by_regime<names::iv_ratio>, 0)
TELAMON_SPECIAL_BOTH(iv_ratio_c, blocks::by_regime<names::iv_ratio>, 1)
TELAMON_SPECIAL_BOTH(kv_ratio, blocks::by_regime<names::kv_ratio>, 0)

namespace blocks {

TELAMON_MULTIVERSION(start_inverse, (const double* v, const double* r, double* x, std::size_t n), {
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i) x[i] = detail::inverse_start(v[i], r[i]);
})
TELAMON_MULTIVERSION(step_inverse, (const double* v, const double* r, const double* ratios, double* x, std::size_t n), {
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i)
    x[i] = detail::inverse_step(v[i], r[i], x[i], ratios[i], ratios[block_of<names::iv_ratio, double> + i]);
})

// detail::inverse over a block: every element takes the two steps, those that need more are then done again.
struct inverse_ratio {
  static constexpr int outputs = 1;

  template <int>
  static void run(const double* v, const double* r, double* x, std::size_t n) {
    using both = by_regime<names::iv_ratio>;
    constexpr std::size_t block = block_of<both, double>;
    alignas(64) double pv[block], pr[block], ratios[both::outputs * block];
    for (std::size_t i = 0; i < padded<double>(n); ++i) {
      const bool plain = detail::inverse_is_plain(v[i], r[i]);
      pv[i] = plain ? v[i] : 1.0, pr[i] = plain ? r[i] : 0.5;
    }
    start_inverse(pv, pr, x, padded<double>(n));
    for (int k = 0; k < detail::inverse_steps; ++k) {
      both::run<0, 1>(pv, x, ratios, n);
      for (std::size_t i = n; i < padded<double>(n); ++i) ratios[i] = ratios[0], ratios[block + i] = ratios[block];
      step_inverse(pv, pr, ratios, x, padded<double>(n));
    }
    for (std::size_t i = 0; i < n; ++i)
      if (!detail::inverse_is_plain(v[i], r[i])) x[i] = detail::inverse_edge(v[i], r[i]);
  }
  template <int>
  static void run(const float* v, const float* r, float* x, std::size_t n) {
    constexpr std::size_t block = block_of<inverse_ratio, double>;
    alignas(64) double wv[block], wr[block], wx[block];
    for (std::size_t begin = 0; begin < n; begin += block) {
      const std::size_t m = std::min(n - begin, block);
      for (std::size_t i = 0; i < padded<double>(m); ++i) wv[i] = v[begin + i], wr[i] = r[begin + i];
      run<0>(wv, wr, wx, m);
      for (std::size_t i = 0; i < m; ++i) x[begin + i] = float(wx[i]);
    }
  }
};

}  // namespace blocks

TELAMON_SPECIAL_BOTH(iv_ratioinv, blocks::inverse_ratio, 0)

}  // namespace telamon::special
