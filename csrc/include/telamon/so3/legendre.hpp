// Gauss-Legendre nodes and normalised associated Legendre functions, in double, for the tables of the products.
//
// P_lm(theta), m >= 0, is normalised in the mean over the sphere, 1/2 int P_lm^2 sin(theta) d theta = 1, without the
// Condon-Shortley phase, so that P_lm(theta) {1, sqrt2 cos m phi, sqrt2 sin m phi} are the harmonics of "component"
// normalisation. Recurrences upwards in l from P_mm (DLMF 14.10.3, 14.7.15, normalised), stable: errors of some l eps.
#pragma once

#include <cmath>
#include <vector>

namespace telamon::so3::detail {

struct gauss_legendre {
  std::vector<double> theta, weight;  // from the north pole; the weights add up to 2
};

// n nodes; the second half mirrors the first exactly, and for odd n the equator is pi/2 exactly.
inline gauss_legendre gauss_nodes(int n) {
  constexpr double pi = 3.14159265358979323846;
  gauss_legendre rule{std::vector<double>(std::size_t(n)), std::vector<double>(std::size_t(n))};
  for (int i = 0; i < (n + 1) / 2; ++i) {
    // Newton's iteration in theta for P_n(cos theta) = 0 (DLMF 3.5.24 gives the weights).
    double theta = pi * (i + 0.75) / (n + 0.5), slope = 0;
    for (int step = 0; step < 8; ++step) {
      const double x = std::cos(theta), s = std::sin(theta);
      double p = 1, q = 0;
      for (int k = 0; k < n; ++k) {
        const double next = ((2 * k + 1) * x * p - k * q) / (k + 1);
        q = p, p = next;
      }
      slope = n * (q - x * p) / s;  // -dP/dtheta
      const double change = p / slope;
      theta += change;
      if (std::abs(change) < 1e-16) break;
    }
    if (2 * i + 1 == n) theta = pi / 2;
    rule.theta[std::size_t(i)] = theta;
    rule.theta[std::size_t(n - 1 - i)] = pi - theta;
    rule.weight[std::size_t(i)] = rule.weight[std::size_t(n - 1 - i)] = 2 / (slope * slope);
  }
  return rule;
}

// p[l] = P_lm(theta) and slope[l] = d/dtheta P_lm(theta) for l = m..lmax.
inline void legendre(int m, int lmax, double theta, double* p, double* slope) {
  const double x = std::cos(theta), s = std::sin(theta);
  double start = 1;
  for (int k = 1; k <= m; ++k) start *= s * std::sqrt((2 * k + 1) / (2.0 * k));
  p[m] = start;
  if (m < lmax) p[m + 1] = std::sqrt(2 * m + 3.0) * x * start;
  for (int l = m + 2; l <= lmax; ++l) {
    const double a = std::sqrt((2 * l + 1.0) * (2 * l - 1) / (double(l - m) * (l + m)));
    const double b = std::sqrt((2 * l + 1.0) * (l + m - 1) * (l - m - 1) / (double(l - m) * (l + m) * (2 * l - 3)));
    p[l] = a * x * p[l - 1] - b * p[l - 2];
  }
  // sin(theta) dP_l/dtheta = l x P_l - sqrt((2l+1)(l-m)(l+m)/(2l-1)) P_{l-1}
  for (int l = m; l <= lmax; ++l) {
    const double c = l > m ? std::sqrt((2 * l + 1.0) * (l - m) * (l + m) / (2 * l - 1)) * p[l - 1] : 0;
    slope[l] = (l * x * p[l] - c) / s;
  }
}

}  // namespace telamon::so3::detail
