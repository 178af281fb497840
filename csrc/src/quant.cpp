// Codes of given codebooks, and codebooks of rows on their own.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "quant_rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace telamon::quant {
namespace {

using namespace detail;

constexpr std::size_t least_runs = 256;  // of neighbours, for the start

// K-means in one dimension, on sorted numbers: clusters are intervals, their means come from sums over prefixes.
//
// Lloyd's algorithm alone ends far from the optimum where a few numbers have most of the mass, as inputs of language
// models do. So its start is the optimum for runs of neighbours of equal mass^(1/3), the density of levels that is best
// for many levels; by dynamic programming, with cuts that move on as the end does (Wang and Song 2011).
class sorted_row {
 public:
  sorted_row(const float* w, const double* importance, std::size_t n) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < n; ++i) {
      if (importance == nullptr || importance[i] > 0) order.push_back(i);
    }
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return w[a] < w[b]; });
    mass_.push_back(0), moment_.push_back(0);
    for (std::size_t i : order) {
      const double m = importance ? importance[i] : 1.0;
      value_.push_back(double(w[i]));
      mass_.push_back(mass_.back() + m), moment_.push_back(moment_.back() + m * double(w[i]));
    }
  }

  // Ascending; fewer distinct numbers than levels are repeated.
  void codebook(std::size_t levels, double* c) const {
    if (value_.empty()) {
      std::fill_n(c, levels, 0.0);
      return;
    }
    std::vector<std::size_t> cuts = start(levels), last;
    means(cuts, c, value_.front());
    for (int round = 0; round < 100 && cuts != last; ++round) {
      last = cuts;
      for (std::size_t a = 1; a < levels; ++a) {
        const double middle = 0.5 * (c[a - 1] + c[a]);
        cuts[a] = std::size_t(std::upper_bound(value_.begin(), value_.end(), middle) - value_.begin());
      }
      means(cuts, c, c[0]);
    }
  }

 private:
  std::vector<double> value_, mass_, moment_;  // the sums have one entry more

  // The means of the intervals; of empty ones the number before.
  void means(const std::vector<std::size_t>& cuts, double* c, double before) const {
    for (std::size_t a = 0; a + 1 < cuts.size(); ++a) {
      const double mass = mass_[cuts[a + 1]] - mass_[cuts[a]];
      if (cuts[a + 1] > cuts[a] && mass > 0) before = (moment_[cuts[a + 1]] - moment_[cuts[a]]) / mass;
      c[a] = before;
    }
  }

  // The ends of runs of neighbours, the first of them 0.
  std::vector<std::size_t> runs(std::size_t most) const {
    const std::size_t n = value_.size();
    std::vector<double> share(n + 1, 0.0);
    for (std::size_t i = 0; i < n; ++i) share[i + 1] = share[i] + std::cbrt(mass_[i + 1] - mass_[i]);
    std::vector<std::size_t> ends(1, 0);
    for (std::size_t i = 1; i <= n; ++i) {
      const bool full =
          std::floor(share[i] / share[n] * double(most)) > std::floor(share[ends.back()] / share[n] * double(most));
      if (n <= most || full || i == n) ends.push_back(i);
    }
    return ends;
  }

  // The cuts (levels + 1) with the least squared error that runs allow.
  std::vector<std::size_t> start(std::size_t levels) const {
    const std::vector<std::size_t> ends = runs(std::max(least_runs, 2 * levels));
    const std::size_t n = ends.size() - 1, used = std::min(levels, n);
    std::vector<double> mass(n + 1), moment(n + 1);
    const double center = moment_.back() / mass_.back();
    for (std::size_t i = 0; i <= n; ++i) mass[i] = mass_[ends[i]], moment[i] = moment_[ends[i]] - center * mass[i];
    // The gain of a cluster over its squares about the center: what is maximised.
    const auto gain = [&](std::size_t i, std::size_t j) {
      const double m = mass[j] - mass[i], s = moment[j] - moment[i];
      return m > 0 ? s * s / m : 0.0;
    };
    std::vector<double> best(n + 1), next(n + 1);
    std::vector<std::uint16_t> from(used * (n + 1), 0);
    for (std::size_t j = 0; j <= n; ++j) best[j] = gain(0, j);
    for (std::size_t k = 1; k < used; ++k) {
      std::uint16_t* const cut = from.data() + k * (n + 1);
      const auto fill = [&](auto self, std::size_t begin, std::size_t end, std::size_t low, std::size_t high) -> void {
        if (begin >= end) return;
        const std::size_t j = (begin + end) / 2;
        double top = -1;
        std::size_t at = low;
        for (std::size_t i = low; i <= std::min(high, j); ++i) {
          const double total = best[i] + gain(i, j);
          if (total > top) top = total, at = i;
        }
        next[j] = top, cut[j] = std::uint16_t(at);
        self(self, begin, j, low, at);
        self(self, j + 1, end, at, high);
      };
      fill(fill, 0, n + 1, 0, n);
      best.swap(next);
    }
    std::vector<std::size_t> cuts(levels + 1, value_.size());
    std::size_t j = n;
    for (std::size_t k = used; k-- > 0;) cuts[k] = ends[j = from[k * (n + 1) + j]];
    return cuts;
  }
};

}  // namespace

void nearest(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const float* codebooks,
             std::uint8_t* codes) {
  check_levels("nearest", levels);
  parallel_for(rows, 20000 / (inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      codebook<double> c(levels);
      std::copy_n(codebooks + r * levels, levels, c.values());
      c.prepare();
      for (std::size_t i = 0; i < inputs; ++i) {
        codes[r * inputs + i] = std::uint8_t(c.nearest(double(weights[r * inputs + i])));
      }
    }
  });
}

void kmeans(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* importance,
            float* codebooks, std::uint8_t* codes) {
  check_levels("kmeans", levels);
  parallel_for(rows, 2000 / (inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> c(levels);
    for (std::size_t r = begin; r < end; ++r) {
      sorted_row(weights + r * inputs, importance, inputs).codebook(levels, c.data());
      std::copy(c.begin(), c.end(), codebooks + r * levels);
    }
  });
  nearest(rows, inputs, levels, weights, codebooks, codes);
}

}  // namespace telamon::quant
