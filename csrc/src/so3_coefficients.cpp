// Gaunt coefficients, and those of the bracket.
#include <telamon/core/error.hpp>
#include <telamon/so3/legendre.hpp>

#include "so3_tables.hpp"

#include <cmath>

namespace telamon::so3 {
namespace {

using namespace tiles;

// The trigonometric factor of component m, {sqrt2 sin |m| phi, 1, sqrt2 cos m phi}, as coefficients of exp(+-i |m|
// phi): half (1 -+ i s) with s = 0 for a cosine; or of its derivative in phi.
struct waves {
  int m;
  double re[2], im[2];  // of exp(i m phi) and exp(-i m phi)

  waves(int order, bool slope) : m(order < 0 ? -order : order), re{}, im{} {
    const double h = std::sqrt(0.5);
    if (order == 0) re[0] = slope ? 0 : 1;
    if (order > 0 && !slope) re[0] = re[1] = h;
    if (order > 0 && slope) im[0] = m * h, im[1] = -m * h;
    if (order < 0 && !slope) im[0] = -h, im[1] = h;
    if (order < 0 && slope) re[0] = re[1] = m * h;
  }
};

// The mean over the circle of the product of three; it is real.
double mean(const waves& a, const waves& b, const waves& c) {
  double sum = 0;
  for (int i = 0; i < (a.m ? 2 : 1); ++i) {
    for (int j = 0; j < (b.m ? 2 : 1); ++j) {
      for (int k = 0; k < (c.m ? 2 : 1); ++k) {
        if ((i ? -a.m : a.m) + (j ? -b.m : b.m) + (k ? -c.m : c.m) != 0) continue;
        const double re = a.re[i] * b.re[j] - a.im[i] * b.im[j], im = a.re[i] * b.im[j] + a.im[i] * b.re[j];
        sum += re * c.re[k] - im * c.im[k];
      }
    }
  }
  return sum;
}

// Associated Legendre functions of one degree on the parallels.
struct degree_values {
  std::vector<double> p, slope;  // [m][node]
  degree_values(int l, const detail::gauss_legendre& rule) {
    std::vector<double> all(std::size_t(l) + 1), slopes(all.size());
    for (int m = 0; m <= l; ++m) {
      for (double theta : rule.theta) {
        detail::legendre(m, l, theta, all.data(), slopes.data());
        p.push_back(all[std::size_t(l)]), slope.push_back(slopes[std::size_t(l)]);
      }
    }
  }
};

}  // namespace

std::vector<coefficient> coefficients(int l1, int l2, int l3, kind which) {
  require(l1 >= 0 && l2 >= 0 && l3 >= 0, "so3.coefficients: the degrees are ", l1, ", ", l2, ", ", l3,
          "; pass degrees from 0 on");
  require(which == kind::even || which == kind::odd, "so3.coefficients: pass kind::even or kind::odd");
  std::vector<coefficient> found;
  const bool odd = which == kind::odd;
  if (l3 > l1 + l2 || l3 < std::abs(l1 - l2) || (l1 + l2 + l3) % 2 != (odd ? 1 : 0)) return found;
  const detail::gauss_legendre rule = detail::gauss_nodes(nodes_for(l1 + l2 + l3));
  const std::size_t n = rule.theta.size();
  const degree_values a(l1, rule), b(l2, rule), c(l3, rule);
  const auto integral = [&](const std::vector<double>& u, int mu, const std::vector<double>& v, int mv, int m,
                            bool over_sine) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double term =
          rule.weight[i] * u[std::size_t(mu) * n + i] * v[std::size_t(mv) * n + i] * c.p[std::size_t(m) * n + i];
      sum += over_sine ? term / std::sin(rule.theta[i]) : term;
    }
    return sum / 2;
  };
  for (int k = -l3; k <= l3; ++k) {
    for (int i = -l1; i <= l1; ++i) {
      for (int j = -l2; j <= l2; ++j) {
        const int mi = std::abs(i), mj = std::abs(j), mk = std::abs(k);
        if (mk != mi + mj && mk != std::abs(mi - mj)) continue;
        const waves wk(k, false), wi(i, false), wj(j, false);
        double value = 0;
        if (!odd) {
          const double phi = mean(wi, wj, wk);
          if (phi != 0) value = phi * integral(a.p, mi, b.p, mj, mk, false);
        } else {
          const double first = mean(wi, waves(j, true), wk), second = mean(waves(i, true), wj, wk);
          if (first != 0) value += first * integral(a.slope, mi, b.p, mj, mk, true);
          if (second != 0) value -= second * integral(a.p, mi, b.slope, mj, mk, true);
        }
        // The nonzero ones of degrees up to 100 are larger than this, and rounding errors smaller.
        if (std::abs(value) > 1e-11) found.push_back({i + l1, j + l2, k + l3, value});
      }
    }
  }
  return found;
}

}  // namespace telamon::so3
