// Codes of given codebooks, and codebooks of rows on their own.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "quant_rows.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace telamon::quant {
namespace {

using namespace detail;

// Lloyd's algorithm on sorted numbers: clusters are intervals, their means come from sums over prefixes.
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
    for (std::size_t a = 0; a < levels; ++a) {  // quantiles
      const double at = mass_.back() * (double(a) + 0.5) / double(levels);
      const std::size_t i = std::size_t(std::upper_bound(mass_.begin(), mass_.end(), at) - mass_.begin());
      c[a] = value_[std::min(i, value_.size()) - 1];
    }
    std::vector<std::size_t> cuts(levels + 1, 0), last;
    for (int round = 0; round < 100 && cuts != last; ++round) {
      last = cuts;
      cuts.back() = value_.size();
      for (std::size_t a = 1; a < levels; ++a) {
        const double middle = 0.5 * (c[a - 1] + c[a]);
        cuts[a] = std::size_t(std::upper_bound(value_.begin(), value_.end(), middle) - value_.begin());
      }
      for (std::size_t a = 0; a < levels; ++a) {
        const double mass = mass_[cuts[a + 1]] - mass_[cuts[a]];
        if (cuts[a + 1] > cuts[a] && mass > 0) c[a] = (moment_[cuts[a + 1]] - moment_[cuts[a]]) / mass;
      }
    }
  }

 private:
  std::vector<double> value_, mass_, moment_;  // the sums have one entry more
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
