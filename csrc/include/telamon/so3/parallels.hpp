// The tables of the products on parallels, made in double and rounded once: for the host, and for what it sends to
// GPUs.
#pragma once

#include <telamon/so3/legendre.hpp>
#include <telamon/so3/product.hpp>

#include <cmath>
#include <vector>

namespace telamon::so3::detail {

// The Gauss-Legendre nodes on which polynomials of this degree are integrated exactly.
constexpr int nodes_for(int degree) noexcept { return degree / 2 + 1; }

template <class T>
struct parallels_storage {
  std::vector<T> synthesis, slope, analysis, inverse_sine;
  parallels<T> view;
};

// Polynomials near the poles fall below what T holds; zeros are as good and do not slow the processor down.
template <class T>
T rounded(double value) {
  return std::abs(value) < (sizeof(T) == 8 ? 1e-290 : 1e-30) ? T(0) : T(value);
}

template <class T>
parallels_storage<T> make_parallels(int lmax, int nodes) {
  const gauss_legendre rule = gauss_nodes(nodes);
  const int pairs = (nodes + 1) / 2;
  const std::size_t width = std::size_t(lmax) + 1;
  parallels_storage<T> s;
  std::vector<double> p(width * std::size_t(pairs)), slope(p.size());
  for (int m = 0; m <= lmax; ++m) {
    for (int i = 0; i < pairs; ++i) {
      const std::size_t row = std::size_t(i) * width;
      legendre(m, lmax, rule.theta[std::size_t(i)], p.data() + row, slope.data() + row);
    }
    const double half = m == 0 ? 1 : std::sqrt(0.5);
    for (int l = m; l <= lmax; ++l) {
      for (int i = 0; i < pairs; ++i) {
        // On the equator functions of odd l + m are zero, and so are the slopes of the others: exactly, since `fold`
        // relies on it.
        const bool equator = 2 * i + 1 == nodes, odd = (l + m) % 2 != 0;
        const std::size_t at = std::size_t(i) * width + std::size_t(l);
        const double value = equator && odd ? 0 : p[at];
        s.synthesis.push_back(rounded<T>(half * value));
        s.slope.push_back(rounded<T>(equator && !odd ? 0 : half * slope[at]));
        s.analysis.push_back(rounded<T>(rule.weight[std::size_t(i)] / 2 / half * value));
      }
    }
  }
  for (int i = 0; i < pairs; ++i) s.inverse_sine.push_back(T(1 / std::sin(rule.theta[std::size_t(i)])));
  s.view = {lmax, pairs, nodes % 2 != 0, s.synthesis.data(), s.slope.data(), s.analysis.data(), s.inverse_sine.data()};
  return s;
}

}  // namespace telamon::so3::detail
