// The product of two: what is allowed, and which way is taken.
#include <telamon/core/error.hpp>
#include <telamon/so3/sparse_kernels.hpp>

#include "so3_ways.hpp"

#include <algorithm>

namespace telamon::so3 {
namespace {

constexpr int max_degree = 1000;

template <class T>
void product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
             std::size_t samples, std::size_t channels, const product_options<T>& options) {
  for (int l : {l1, l2, l3}) {
    require(0 <= l && l <= max_degree, "so3.gaunt_product: a degree is ", l, "; pass degrees from 0 to ", max_degree);
  }
  require(l3 <= l1 + l2, "so3.gaunt_product: l3 is ", l3, ", the product has degree l1 + l2 = ", l1 + l2,
          "; pass an l3 up to that");
  if (samples == 0 || channels == 0) return;
  method how = options.how;
  if (how == method::automatic) {
    const bool equal = l1 == l2 && l2 == l3, odd_only = options.which == kind::odd;
    if (equal && l1 > detail::straight_even_until && l1 <= detail::straight_odd_until &&
        (options.which == kind::sum || options.which == kind::complete)) {
      // the odd product has straight code, the even one is faster on parallels
      product_options<T> part = options;
      part.which = kind::even;
      grid_product(l1, l2, l3, x, y, out, {}, samples, channels, part);
      part.which = kind::odd;
      if (options.which == kind::sum) part.accumulate = true;
      return sparse_product(l1, l2, l3, x, y, options.which == kind::sum ? out : odd, {}, samples, channels, part);
    }
    const bool straight = equal && l1 <= (odd_only ? detail::straight_odd_until : detail::straight_even_until);
    how = straight || std::max({l1, l2, l3}) <= sparse_until ? method::sparse : method::grid;
  }
  if (how == method::sparse) return sparse_product(l1, l2, l3, x, y, out, odd, samples, channels, options);
  if (how == method::fourier) return fourier_product(l1, l2, l3, x, y, out, samples, channels, options);
  grid_product(l1, l2, l3, x, y, out, odd, samples, channels, options);
}

}  // namespace

void gaunt_product(int l1, int l2, int l3, features<const float> x, features<const float> y, features<float> out,
                   features<float> odd, std::size_t samples, std::size_t channels,
                   const product_options<float>& options) {
  product(l1, l2, l3, x, y, out, odd, samples, channels, options);
}
void gaunt_product(int l1, int l2, int l3, features<const double> x, features<const double> y, features<double> out,
                   features<double> odd, std::size_t samples, std::size_t channels,
                   const product_options<double>& options) {
  product(l1, l2, l3, x, y, out, odd, samples, channels, options);
}

}  // namespace telamon::so3
