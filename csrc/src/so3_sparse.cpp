// Gaunt coefficients, and the product by the nonzero ones one by one.
#include <telamon/core/error.hpp>
#include <telamon/so3/legendre.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

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

namespace {

// z_k = sum of value x_i y_j over entries [start[k], start[k + 1]).
template <class T>
struct sparse_table {
  struct entry {
    int i, j;
    T value;
  };
  std::vector<entry> entries;
  std::vector<int> start;
};

template <class T>
const sparse_table<T>& table_of(int l1, int l2, int l3, kind which) {
  static std::mutex mutex;
  static auto* tables = new std::map<std::array<int, 4>, std::unique_ptr<sparse_table<T>>>;
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<sparse_table<T>>& found = (*tables)[{l1, l2, l3, int(which)}];
  if (found) return *found;
  std::vector<std::vector<typename sparse_table<T>::entry>> rows(std::size_t(components(l3)));
  for (int a = 0; a <= l1; ++a) {
    for (int b = 0; b <= l2; ++b) {
      for (int c = std::abs(a - b); c <= std::min(a + b, l3); ++c) {
        const kind parity = (a + b + c) % 2 == 0 ? kind::even : kind::odd;
        if (which != kind::sum && which != parity) continue;
        for (const coefficient& e : coefficients(a, b, c, parity)) {
          rows[std::size_t(c * c + e.k)].push_back({a * a + e.i, b * b + e.j, T(e.value)});
        }
      }
    }
  }
  found = std::make_unique<sparse_table<T>>();
  for (const auto& row : rows) {
    found->start.push_back(int(found->entries.size()));
    found->entries.insert(found->entries.end(), row.begin(), row.end());
  }
  found->start.push_back(int(found->entries.size()));
  return *found;
}

TELAMON_MULTIVERSION_TEMPLATE(sparse_tiles, (class T),
                              (const product_plan<T>& plan, const sparse_table<T>& table, vector<T>* memory,
                               std::size_t begin, std::size_t end),
                              {
                                on_tiles<false>(
                                    plan, memory, begin, end,
                                    [&](const vector<T>* x, const vector<T>* y, vector<T>* z, vector<T>*, vector<T>*) {
                                      const auto* e = table.entries.data();
                                      for (int k = 0; k < plan.k3; ++k) {
                                        const int last = table.start[std::size_t(k) + 1];
                                        int n = table.start[std::size_t(k)];
                                        vector<T> sum[4] = {};
                                        for (; n + 4 <= last; n += 4) {
                                          TELAMON_UNROLL
                                          for (int u = 0; u < 4; ++u)
                                            sum[u] += e[n + u].value * (x[e[n + u].i] * y[e[n + u].j]);
                                        }
                                        for (; n < last; ++n) sum[0] += e[n].value * (x[e[n].i] * y[e[n].j]);
                                        z[k] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
                                      }
                                    });
                              })

}  // namespace

template <class T>
void sparse_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                    std::size_t samples, std::size_t channels, const product_options<T>& options) {
  if (options.which == kind::complete) {
    product_options<T> part = options;
    part.which = kind::even;
    sparse_product(l1, l2, l3, x, y, out, {}, samples, channels, part);
    part.which = kind::odd;
    return sparse_product(l1, l2, l3, x, y, odd, {}, samples, channels, part);
  }
  const product_plan<T> plan(natural_order_of(l1), natural_order_of(l2), natural_order_of(l3), x, y, out, {}, samples,
                             channels, options);
  const sparse_table<T>& table = table_of<T>(l1, l2, l3, options.which);
  share_tiles(plan, 0, double(table.entries.size()), [&](vector<T>* memory, std::size_t begin, std::size_t end) {
    sparse_tiles<T>::run(plan, table, memory, begin, end);
  });
}
template void sparse_product(int, int, int, features<const float>, features<const float>, features<float>,
                             features<float>, std::size_t, std::size_t, const product_options<float>&);
template void sparse_product(int, int, int, features<const double>, features<const double>, features<double>,
                             features<double>, std::size_t, std::size_t, const product_options<double>&);

}  // namespace telamon::so3
