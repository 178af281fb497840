// LNQ for layers: per row, the best codebook for the codes and coordinate descent over the codes for the codebook.
//
// Kept per row is the gradient g = H e, in double. A coordinate's best value is what_i - g_i/H_ii; only where its code
// changes is g updated, by one row of H. The codebook's system P'HP is a sum of segments of H; its right-hand side, for
// the change of the codebook, is a sum of segments of -g. So H is never factorised, and may be singular. Several rows
// go through H together, since H is what does not fit in cache.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "quant_rows.hpp"

#include <cmath>
#include <numeric>
#include <vector>

namespace telamon::quant {
namespace {

using namespace detail;

constexpr std::size_t rows_together = 16;
constexpr std::size_t segment = 32;             // columns of H that are summed by code together
constexpr std::size_t segment_bytes = 1 << 14;  // of such sums, in the first level of cache
constexpr std::size_t steps_together = 8;       // rows of H that are added in one pass over g
constexpr std::size_t columns_together = 256;
constexpr double ridge = 1e-12;  // relative to the mean of the diagonal

TELAMON_MULTIVERSION(add_scaled, (double scale, const double* x, double* y, std::size_t n), {
  TELAMON_SIMD
  for (std::size_t j = 0; j < n; ++j) y[j] += scale * x[j];
})
// y += rows of h, n apart, times the scales: `count` columns of steps_together rows.
TELAMON_MULTIVERSION(add_rows, (const double* scale, const double* h, std::size_t n, double* y, std::size_t count), {
  const double *a = h, *b = a + n, *c = b + n, *d = c + n, *e = d + n, *f = e + n, *g = f + n, *k = g + n;
  TELAMON_SIMD
  for (std::size_t j = 0; j < count; ++j) {
    y[j] += (scale[0] * a[j] + scale[1] * b[j] + scale[2] * c[j] + scale[3] * d[j]) +
            (scale[4] * e[j] + scale[5] * f[j] + scale[6] * g[j] + scale[7] * k[j]);
  }
})

// sums (rows, levels, segment): those of the columns [0, count) of h, by the rows' codes.
TELAMON_MULTIVERSION(sum_segments,
                     (const double* h, std::size_t n, std::size_t count, const std::uint8_t* codes, std::size_t rows,
                      std::size_t levels, double* sums),
                     {
                       for (std::size_t i = 0; i < n; ++i) {
                         const double* const from = h + i * n;
                         for (std::size_t r = 0; r < rows; ++r) {
                           double* const to = sums + (r * levels + codes[r * n + i]) * segment;
                           if (count == segment) {
                             TELAMON_SIMD
                             for (std::size_t j = 0; j < segment; ++j) to[j] += from[j];
                           } else {
                             for (std::size_t j = 0; j < count; ++j) to[j] += from[j];
                           }
                         }
                       }
                     })

// To the nearest number of float16, ties to even, without leaving float.
float round_to_half(double x) {
  const double size = std::abs(x);
  if (!(size < 65520.0)) return float(std::isnan(x) ? x : std::copysign(INFINITY, x));
  if (size == 0) return float(x);
  const int exponent = std::max(std::ilogb(size), -14) - 10;  // of the last place
  return float(std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent));
}

// One row of weights on its way.
struct row_state {
  const float* w;
  std::uint8_t* codes;
  double* g;
  codebook<double> c;
  double objective;
};

// Solves (m + ridge) x = b by Cholesky; where a pivot vanishes, as for levels that no code uses, x is 0.
void solve(std::size_t n, std::vector<double>& m, std::vector<double>& b) {
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += m[i * n + i];
  const double least = ridge * trace / double(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      double s = m[i * n + j] + (i == j ? least : 0.0);
      for (std::size_t k = 0; k < j; ++k) s -= m[i * n + k] * m[j * n + k];
      if (i == j)
        m[i * n + i] = s > 0.5 * least && s > 0 ? std::sqrt(s) : 0.0;
      else
        m[i * n + j] = m[j * n + j] > 0 ? s / m[j * n + j] : 0.0;
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    double s = b[i];
    for (std::size_t k = 0; k < i; ++k) s -= m[i * n + k] * b[k];
    b[i] = m[i * n + i] > 0 ? s / m[i * n + i] : 0.0;
  }
  for (std::size_t i = n; i-- > 0;) {
    double s = b[i];
    for (std::size_t k = i + 1; k < n; ++k) s -= m[k * n + i] * b[k];
    b[i] = m[i * n + i] > 0 ? s / m[i * n + i] : 0.0;
  }
}

class block {
 public:
  block(std::size_t inputs, std::size_t levels, const double* h)
      : n_(inputs), levels_(levels), h_(h), g_(rows_together * inputs) {
    inverse_.resize(n_);
    for (std::size_t i = 0; i < n_; ++i) inverse_[i] = h[i * n_ + i] > 0 ? 1 / h[i * n_ + i] : 0.0;
  }

  void start(std::size_t count, const float* weights, float* codebooks, std::uint8_t* codes) {
    rows_.clear();
    for (std::size_t r = 0; r < count; ++r) {
      row_state row{weights + r * n_, codes + r * n_, g_.data() + r * n_, codebook<double>(levels_), 0.0};
      std::copy_n(codebooks + r * levels_, levels_, row.c.values());
      row.c.prepare();
      rows_.push_back(row);
    }
    refresh();
  }

  // g = H e and the objective, from scratch.
  void refresh() {
    std::fill(g_.begin(), g_.end(), 0.0);
    add_steps([](const row_state& row, std::size_t, std::size_t i) { return error(row, i); });
    for (row_state& row : rows_) {
      row.objective = 0;
      for (std::size_t i = 0; i < n_; ++i) row.objective += error(row, i) * row.g[i];
      row.objective = std::max(row.objective, 0.0);
    }
  }

  // The best codebook for the codes.
  void fit_codebooks() {
    std::vector<double> systems(rows_.size() * levels_ * levels_);
    make_systems(systems.data());
    std::vector<std::vector<double>> changes;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      changes.push_back(best_change(rows_[r], systems.data() + r * levels_ * levels_));
    }
    add_steps([&](const row_state& row, std::size_t r, std::size_t i) { return changes[r][row.codes[i]]; });
    change_codebooks(changes);
  }

  void round_codebooks() {
    std::vector<std::vector<double>> changes;
    for (row_state& row : rows_) {
      std::vector<double> change(levels_);
      for (std::size_t a = 0; a < levels_; ++a) change[a] = double(round_to_half(row.c[a])) - row.c[a];
      changes.push_back(change);
    }
    change_codebooks(changes);
    refresh();
  }

  // One cycle of coordinate descent.
  void descend() {
    for (std::size_t i = 0; i < n_; ++i) {
      const double* const h = h_ + i * n_;
      for (row_state& row : rows_) {
        const std::size_t code = row.codes[i];
        const double value = row.c[code];
        const std::size_t better = row.c.nearest(value - row.g[i] * inverse_[i]);
        const double step = row.c[better] - value, gain = step * (2 * row.g[i] + step * h[i]);
        if (better == code || !(gain < 0)) continue;
        row.codes[i] = std::uint8_t(better);
        row.objective = std::max(row.objective + gain, 0.0);
        add_scaled(step, h, row.g, n_);
      }
    }
  }

  double total() const {
    return std::accumulate(rows_.begin(), rows_.end(), 0.0,
                           [](double s, const row_state& r) { return s + r.objective; });
  }
  const std::vector<row_state>& rows() const { return rows_; }

 private:
  std::size_t n_, levels_;
  const double* h_;
  std::vector<double> g_, inverse_;
  std::vector<row_state> rows_;

  static double error(const row_state& row, std::size_t i) { return row.c[row.codes[i]] - double(row.w[i]); }

  // g of every row += the sum over i of step(row, its number, i) H_i: eight rows of H at a time, and of those so many
  // columns that they stay in the first level of cache for all rows.
  template <class F>
  void add_steps(F step) {
    double scale[rows_together][steps_together];
    for (std::size_t i = 0; i < n_; i += steps_together) {
      const std::size_t count = std::min(steps_together, n_ - i);
      for (std::size_t r = 0; r < rows_.size(); ++r) {
        for (std::size_t k = 0; k < count; ++k) scale[r][k] = step(rows_[r], r, i + k);
        if (count == steps_together) continue;
        for (std::size_t k = 0; k < count; ++k) add_scaled(scale[r][k], h_ + (i + k) * n_, rows_[r].g, n_);
      }
      for (std::size_t j = 0; j < n_ && count == steps_together; j += columns_together) {
        for (std::size_t r = 0; r < rows_.size(); ++r) {
          add_rows(scale[r], h_ + i * n_ + j, n_, rows_[r].g + j, std::min(columns_together, n_ - j));
        }
      }
    }
  }

  // P'HP of each row: H's rows are summed by their codes, and those sums' columns by theirs.
  void make_systems(double* systems) const {
    const std::size_t most = std::max<std::size_t>(1, segment_bytes / (levels_ * segment * sizeof(double)));
    std::vector<double> sums(std::min(most, rows_.size()) * levels_ * segment);
    for (std::size_t first = 0; first < n_; first += segment) {
      const std::size_t count = std::min(segment, n_ - first);
      for (std::size_t row = 0; row < rows_.size(); row += most) {
        const std::size_t some = std::min(most, rows_.size() - row);
        std::fill(sums.begin(), sums.end(), 0.0);
        sum_segments(h_ + first, n_, count, rows_[row].codes, some, levels_, sums.data());  // their codes are one array
        for (std::size_t r = 0; r < some; ++r) {
          const std::uint8_t* const codes = rows_[row + r].codes + first;
          for (std::size_t a = 0; a < levels_; ++a) {
            double* const to = systems + ((row + r) * levels_ + a) * levels_;
            const double* const from = sums.data() + (r * levels_ + a) * segment;
            for (std::size_t j = 0; j < count; ++j) to[codes[j]] += from[j];
          }
        }
      }
    }
  }

  // The change of the codebook that lowers the objective most, and 0 where rounding makes none of it. Lowers the
  // objective accordingly.
  std::vector<double> best_change(row_state& row, const double* system) const {
    std::vector<double> slope(levels_, 0.0);
    for (std::size_t i = 0; i < n_; ++i) slope[row.codes[i]] += row.g[i];
    std::vector<double> change(levels_);
    for (std::size_t a = 0; a < levels_; ++a) change[a] = -slope[a];
    std::vector<double> factor(system, system + levels_ * levels_);
    solve(levels_, factor, change);
    double gain = 0;
    for (std::size_t a = 0; a < levels_; ++a) {
      double s = 2 * slope[a];
      for (std::size_t b = 0; b < levels_; ++b) s += system[a * levels_ + b] * change[b];
      gain += s * change[a];
    }
    if (!(gain < 0))
      std::fill(change.begin(), change.end(), 0.0);
    else
      row.objective = std::max(row.objective + gain, 0.0);
    return change;
  }

  // c += change, ascending again.
  void change_codebooks(const std::vector<std::vector<double>>& changes) {
    std::vector<std::size_t> order(levels_), place(levels_);
    std::vector<double> moved(levels_);
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      row_state& row = rows_[r];
      for (std::size_t a = 0; a < levels_; ++a) moved[a] = row.c[a] + changes[r][a];
      std::iota(order.begin(), order.end(), std::size_t(0));
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return moved[a] < moved[b]; });
      for (std::size_t a = 0; a < levels_; ++a) place[order[a]] = a, row.c.values()[a] = moved[order[a]];
      for (std::size_t i = 0; i < n_; ++i) row.codes[i] = std::uint8_t(place[row.codes[i]]);
      row.c.prepare();
    }
  }
};

}  // namespace

void lnq(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* h,
         float* codebooks, std::uint8_t* codes, const lnq_options& options, double* trace, double* objectives) {
  check_levels("lnq", levels);
  require(options.iterations >= 0 && options.cycles >= 0, "quant.lnq: there are ", options.iterations,
          " iterations of ", options.cycles, " cycles; pass numbers from 0 on");
  const std::size_t blocks = (rows + rows_together - 1) / rows_together, steps = std::size_t(lnq_steps(options));
  std::vector<double> traces(blocks * steps);
  parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
    block b(inputs, levels, h);
    for (std::size_t at = begin; at < end; ++at) {
      const std::size_t first = at * rows_together, count = std::min(rows_together, rows - first);
      double* to = traces.data() + at * steps;
      b.start(count, weights + first * inputs, codebooks + first * levels, codes + first * inputs);
      *to++ = b.total();
      for (int t = 0; t < options.iterations; ++t) {
        b.fit_codebooks();
        *to++ = b.total();
        for (int k = 0; k < options.cycles; ++k, *to++ = b.total()) b.descend();
      }
      if (options.half_codebooks) {
        b.round_codebooks();
        b.descend();
      }
      for (std::size_t r = 0; r < count; ++r) {
        objectives[first + r] = b.rows()[r].objective;
        for (std::size_t a = 0; a < levels; ++a) codebooks[(first + r) * levels + a] = float(b.rows()[r].c[a]);
      }
    }
  });
  std::fill_n(trace, steps, 0.0);
  for (std::size_t at = 0; at < blocks; ++at) {
    for (std::size_t s = 0; s < steps; ++s) trace[s] += traces[at * steps + s];
  }
  // Codebooks in double have just been rounded to float.
  if (!options.half_codebooks) objective(rows, inputs, levels, weights, h, codebooks, codes, objectives);
}

void objective(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* h,
               const float* codebooks, const std::uint8_t* codes, double* objectives) {
  check_levels("objective", levels);
  const std::size_t blocks = (rows + rows_together - 1) / rows_together;
  parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
    block b(inputs, levels, h);
    for (std::size_t at = begin; at < end; ++at) {
      const std::size_t first = at * rows_together, count = std::min(rows_together, rows - first);
      // start() only reads them; rows of the other functions write
      b.start(count, weights + first * inputs, const_cast<float*>(codebooks) + first * levels,
              const_cast<std::uint8_t*>(codes) + first * inputs);
      for (std::size_t r = 0; r < count; ++r) objectives[first + r] = b.rows()[r].objective;
    }
  });
}

}  // namespace telamon::quant
