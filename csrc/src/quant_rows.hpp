// What the algorithms on rows of weights share.
#pragma once

#include <telamon/core/error.hpp>
#include <telamon/quant.hpp>

#include <algorithm>
#include <cstddef>

namespace telamon::quant::detail {

inline constexpr std::size_t max_levels = 256;

inline void check_levels(const char* name, std::size_t levels) {
  require(levels >= 2 && levels <= max_levels, "quant.", name, ": there are ", levels, " levels; pass 2 to 256");
}

// A row's codebook, ascending, and the middles between neighbours.
template <class T>
class codebook {
 public:
  explicit codebook(std::size_t levels = 0) : levels_(levels) {}
  T* values() noexcept { return values_; }
  T operator[](std::size_t a) const noexcept { return values_[a]; }
  std::size_t levels() const noexcept { return levels_; }

  // After every change.
  void prepare() noexcept {
    for (std::size_t a = 0; a + 1 < levels_; ++a) middles_[a] = T(0.5) * (values_[a] + values_[a + 1]);
  }

  // The lower of two that are equally near.
  std::size_t nearest(T x) const noexcept {
    const std::size_t n = levels_ - 1;
    if (n > 16) return std::size_t(std::lower_bound(middles_, middles_ + n, x) - middles_);
    std::size_t code = 0;
    for (std::size_t a = 0; a < n; ++a) code += x > middles_[a] ? 1 : 0;
    return code;
  }

 private:
  std::size_t levels_;
  T values_[max_levels], middles_[max_levels];
};

}  // namespace telamon::quant::detail
