// The product of two for one column (see columns.hpp), by many threads together: each takes orders of the steps in
// turn, and all wait for each other after each step. The functions of a step are called with the thread's number, so
// that the host can play all threads one after the other.
#pragma once

#include <telamon/so3/columns.hpp>

namespace telamon::so3::columns {

template <class T>
class block_product {
 public:
  // How many parallels of a hemisphere go through a step together, to keep the threads busy.
  static constexpr int pairs_at_once = 4;

  // In elements.
  TELAMON_HD static constexpr std::ptrdiff_t memory(kind which, int l1, int l2, int l3) noexcept {
    const int functions = which == kind::even ? 1 : 3, outputs = which == kind::complete ? 2 : 1;
    return components(l1) + components(l2) +
           std::ptrdiff_t(2 * pairs_at_once) * functions * (detail::circle_size(l1) + detail::circle_size(l2)) +
           outputs * (components(l3) + pairs_at_once * 4 * (l3 + 1));
  }

  TELAMON_HD block_product(const product_plan<T>& plan, kind which, T* memory) noexcept
      : plan_(plan), derivatives_(which != kind::even), which_(which) {
    const int l3 = plan.tables.z.lmax;
    for (int n = 0; n < 2; ++n) {
      const int lmax = factor(n).lmax;
      tile_[n] = memory, memory += components(lmax);
      for (int f = 0; f < (derivatives_ ? 3 : 1); ++f) {
        circles_[n][f] = memory, memory += 2 * pairs_at_once * detail::circle_size(lmax);
      }
    }
    for (int n = 0; n < outputs(); ++n) {
      z_[n] = memory, memory += components(l3);
      h_[n] = memory, memory += pairs_at_once * 4 * (l3 + 1);
    }
  }

  TELAMON_HD int pairs() const noexcept { return plan_.tables.z.pairs; }

  // Reads the factors and clears the results.
  TELAMON_HD void start(column at, int thread, int threads) noexcept {
    for (int n = 0; n < 2; ++n) {
      const int lmax = factor(n).lmax;
      for (int m = thread; m <= lmax; m += threads) {
        gather_order(n == 0 ? plan_.x : plan_.y, n == 0 ? plan_.x_weights : plan_.y_weights, at, lmax, m,
                     tile_[n] + tile_entry(lmax, m));
      }
    }
    for (int n = 0; n < outputs(); ++n) {
      for (int k = thread; k < components(plan_.tables.z.lmax); k += threads) z_[n][k] = T(0);
    }
  }

  // Values and derivatives of both factors on the pairs of parallels from `first` on: an order m of one pair a time.
  TELAMON_HD void synthesis(int first, int thread, int threads) noexcept {
    for (int n = 0; n < 2; ++n) {
      const int lmax = factor(n).lmax;
      for (int task = thread; task < count(first) * (lmax + 1); task += threads) {
        const int i = task / (lmax + 1), m = task % (lmax + 1);
        synthesize<false>(n, first + i, m, circles(n, 0, i));
        if (!derivatives_) continue;
        synthesize<true>(n, first + i, m, circles(n, 1, i));
        // On the circles i the factor's derivative in phi over sin theta, of the first factor with the sign minus.
        const T scale = (n == 0 ? T(-m) : T(m)) * plan_.tables.z.inverse_sine[first + i];
        for (int side = 0; side < 2; ++side) {
          const detail::circle<T> c = detail::circle_at(circles(n, 0, i), lmax, side);
          const detail::circle<T> d = detail::circle_at(circles(n, 2, i), lmax, side);
          d.a[m] = scale * c.b[m], d.b[m] = -(scale * c.a[m]);
        }
      }
      // The zeros at the ends, which nothing overwrites.
      for (int task = thread; task < 2 * pairs_at_once * (derivatives_ ? 3 : 1); task += threads) {
        const int f = task / (2 * pairs_at_once), index = task % (2 * pairs_at_once);
        detail::close_circle(detail::circle_at(circles_[n][f], lmax, index), lmax);
      }
    }
  }

  // An order of the products' coefficients on one pair a time; then the sum and the difference of north and south.
  TELAMON_HD void convolution(int first, int thread, int threads) noexcept {
    const int orders = plan_.tables.z.lmax + 1;
    for (int n = 0; n < outputs(); ++n) {
      const kind which = which_ != kind::complete ? which_ : n == 0 ? kind::even : kind::odd;
      for (int task = thread; task < count(first) * orders; task += threads) {
        const int i = task / orders, m = task % orders;
        const bool equator = plan_.tables.z.equator && first + i == pairs() - 1;
        T north[2] = {}, south[2] = {};
        convolve(which, i, 0, m, north);
        if (!equator) convolve(which, i, 1, m, south);
        T* const h = h_[n] + i * 4 * orders + 2 * m;
        for (int part = 0; part < 2; ++part) {  // on the equator there is only one
          h[part] = equator ? north[part] : north[part] + south[part];
          h[2 * orders + part] = equator ? north[part] : north[part] - south[part];
        }
      }
    }
  }

  // Some degrees of an order of the result.
  TELAMON_HD void analysis(int first, int thread, int threads) noexcept {
    constexpr int degrees = 8;
    const detail::parallels<T>& at = plan_.tables.z;
    const int lmax = at.lmax, half = 2 * (lmax + 1), rows = (lmax + degrees) / degrees;
    for (int n = 0; n < outputs(); ++n) {
      for (int task = thread; task < rows * (lmax + 1); task += threads) {
        const int m = task % (lmax + 1), skipped = task / (lmax + 1) * degrees, left = lmax + 1 - m - skipped;
        if (left <= 0) continue;
        const int some = left < degrees ? left : degrees;
        const T* const table = at.analysis + std::ptrdiff_t(table_row(lmax, m) + skipped) * at.pairs + first;
        T* const z = z_[n] + tile_entry(lmax, m) + (m > 0 ? 2 : 1) * skipped;
        const T* const h = h_[n] + 2 * m;
        if (m == 0) {
          detail::analyse_order<1>(table, at.pairs, h, half, count(first), some, z);
        } else {
          detail::analyse_order<2>(table, at.pairs, h, half, count(first), some, z);
        }
      }
    }
  }

  // Writes the results.
  TELAMON_HD void finish(column at, int thread, int threads) const noexcept {
    const int lmax = plan_.tables.z.lmax;
    for (int n = 0; n < outputs(); ++n) {
      for (int m = thread; m <= lmax; m += threads) {
        scatter_order(z_[n] + tile_entry(lmax, m), lmax, m, n == 0 ? plan_.out : plan_.odd, plan_.out_weights, at,
                      plan_.accumulate);
      }
    }
  }

 private:
  const product_plan<T>& plan_;
  bool derivatives_;
  kind which_;
  T *tile_[2], *circles_[2][3];  // of each factor: values, d/dtheta, d/dphi over +-sin theta
  T *z_[2], *h_[2];

  TELAMON_HD int outputs() const noexcept { return which_ == kind::complete ? 2 : 1; }
  TELAMON_HD const detail::parallels<T>& factor(int n) const noexcept {
    return n == 0 ? plan_.tables.x : plan_.tables.y;
  }
  TELAMON_HD int count(int first) const noexcept {
    return pairs() - first < pairs_at_once ? pairs() - first : pairs_at_once;
  }
  TELAMON_HD T* circles(int n, int f, int i) const noexcept {
    return circles_[n][f] + 2 * i * detail::circle_size(factor(n).lmax);
  }

  template <bool Slope>
  TELAMON_HD void synthesize(int n, int pair, int m, T* to) const noexcept {
    const detail::parallels<T>& at = factor(n);
    const T* const table = (Slope ? at.slope : at.synthesis) + std::ptrdiff_t(table_row(at.lmax, m)) * at.pairs + pair;
    const T* const x = tile_[n] + tile_entry(at.lmax, m);
    if (m == 0) {
      detail::synthesize_order<Slope, 1, 1>(m, at.lmax, table, at.pairs, x, to);
    } else {
      detail::synthesize_order<Slope, 1, 2>(m, at.lmax, table, at.pairs, x, to);
    }
  }

  TELAMON_HD void convolve(kind which, int i, int side, int m, T* h) const noexcept {
    if (which == kind::even) {
      convolve_terms<1>(0, i, side, m, h);
    } else if (which == kind::odd) {
      convolve_terms<2>(1, i, side, m, h);
    } else {
      convolve_terms<3>(0, i, side, m, h);
    }
  }

  // The terms from `first` on of: the product, and the two of the bracket.
  template <int Terms>
  TELAMON_HD void convolve_terms(int first, int i, int side, int m, T* h) const noexcept {
    const int l1 = factor(0).lmax, l2 = factor(1).lmax;
    detail::circle<T> c[Terms], d[Terms];
    for (int t = 0; t < Terms; ++t) {
      const int term = first + t;
      c[t] = detail::circle_at(circles(0, term, i), l1, side);
      d[t] = detail::circle_at(circles(1, term == 0 ? 0 : 3 - term, i), l2, side);
    }
    if (m == 0) {
      detail::convolve(c, l1, d, l2, 0, h);
    } else {
      detail::convolve_orders<1>(m, c, l1, d, l2, h);
    }
  }
};

}  // namespace telamon::so3::columns
