// The product in two-dimensional Fourier space.
#include <telamon/core/error.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

namespace telamon::so3 {
namespace {

using namespace tiles;

TELAMON_MULTIVERSION_TEMPLATE(fourier_tiles, (class T),
                              (const product_plan<T>& plan, const detail::fourier_tables<T>& tables, vector<T>* memory,
                               std::size_t begin, std::size_t end),
                              {
                                on_tiles<false>(plan, memory, begin, end,
                                                [&](vector<T>* x, vector<T>* y, vector<T>* z, vector<T>*,
                                                    vector<T>* rest) TELAMON_INLINE_LAMBDA {
                                                  const vector<T> x_size = normalize<T>(x, plan.k1),
                                                                  y_size = normalize<T>(y, plan.k2);
                                                  for (int i = 0; i < plan.k3; ++i) z[i] = vector<T>{};
                                                  detail::fourier_tile(tables, static_cast<const vector<T>*>(x),
                                                                       static_cast<const vector<T>*>(y), z, rest);
                                                  for (int i = 0; i < plan.k3; ++i) z[i] = z[i] * x_size * y_size;
                                                });
                              })

}  // namespace

template <class T>
void fourier_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out,
                     std::size_t samples, std::size_t channels, const product_options<T>& options) {
  require(options.which == kind::even,
          "so3.gaunt_product: the method fourier has no odd paths; pass the method grid, sparse or auto");
  const int n_theta = detail::next_fft_length(2 * (l1 + l2) + 1), n_phi = detail::next_fft_length(l1 + l2 + l3 + 1);
  const detail::fourier_tables<T> tables{to_fourier<T>(l1), to_fourier<T>(l2), from_fourier<T>(l3, l1 + l2),
                                         fft_of<T>(n_theta), fft_of<T>(n_phi)};
  const product_plan<T> plan(order_of(l1), order_of(l2), order_of(l3), x, y, out, {}, samples, channels, options);
  const std::size_t rest = std::size_t(detail::fourier_scratch(n_theta, n_phi, l3));
  share_tiles(plan, rest, double(n_theta) * n_phi, [&](vector<T>* memory, std::size_t begin, std::size_t end) {
    fourier_tiles<T>::run(plan, tables, memory, begin, end);
  });
}
template void fourier_product(int, int, int, features<const float>, features<const float>, features<float>, std::size_t,
                              std::size_t, const product_options<float>&);
template void fourier_product(int, int, int, features<const double>, features<const double>, features<double>,
                              std::size_t, std::size_t, const product_options<double>&);

}  // namespace telamon::so3
