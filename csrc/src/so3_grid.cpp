// The product on Gauss-Legendre parallels.
#include <telamon/so3/product_fft.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

#include <algorithm>

namespace telamon::so3 {
namespace {

using namespace tiles;

TELAMON_MULTIVERSION_TEMPLATE(grid_tiles, (class T, kind Which),
                              (const product_plan<T>& plan, const detail::product_tables<T>& tables, vector<T>* memory,
                               std::size_t begin, std::size_t end),
                              {
                                constexpr bool pair = Which == kind::complete;
                                detail::clear_product(Which, tables.x.lmax, tables.y.lmax, memory + plan.tile_size());
                                on_tiles<pair>(plan, memory, begin, end,
                                               [&](const vector<T>* x, const vector<T>* y, vector<T>* z, vector<T>* odd,
                                                   vector<T>* rest) TELAMON_INLINE_LAMBDA {
                                                 for (int i = 0; i < plan.k3; ++i) z[i] = vector<T>{};
                                                 if (pair)
                                                   for (int i = 0; i < plan.k3; ++i) odd[i] = vector<T>{};
                                                 detail::product_tile<Which, detail::block_pairs, false>(tables, x, y,
                                                                                                         z, odd, rest);
                                               });
                              })

TELAMON_MULTIVERSION_TEMPLATE(fft_tiles, (class T),
                              (const product_plan<T>& plan, const detail::product_tables<T>& tables,
                               const detail::fft_plan<T>& fft, vector<T>* memory, std::size_t begin, std::size_t end),
                              {
                                vector<T>* const circles = memory + plan.tile_size();
                                detail::clear_product(kind::even, tables.x.lmax, tables.y.lmax, circles);
                                on_tiles<false>(
                                    plan, memory, begin, end,
                                    [&](vector<T>* x, vector<T>* y, vector<T>* z, vector<T>*, vector<T>* rest)
                                        TELAMON_INLINE_LAMBDA {
                                          const vector<T> x_size = normalize<T>(x, plan.k1),
                                                          y_size = normalize<T>(y, plan.k2);
                                          for (int i = 0; i < plan.k3; ++i) z[i] = vector<T>{};
                                          detail::fft_product_tile(tables, fft, static_cast<const vector<T>*>(x),
                                                                   static_cast<const vector<T>*>(y), z, rest);
                                          for (int i = 0; i < plan.k3; ++i) z[i] = z[i] * x_size * y_size;
                                        });
                              })

// Where all degrees are at least this the even product is faster by FFT.
constexpr int fft_from = 26;

template <class T>
void run_by_fft(const product_plan<T>& plan, const detail::product_tables<T>& tables) {
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax;
  const detail::fft_plan<T>& fft = fft_of<T>(detail::next_fft_length(l1 + l2 + l3 + 1));
  const double l = std::max({l1, l2, l3}) + 1;
  share_tiles(plan, std::size_t(detail::fft_product_scratch(l1, l2, l3, fft.n)), 12 * l * l * l,
              [&](vector<T>* memory, std::size_t begin, std::size_t end) {
                fft_tiles<T>::run(plan, tables, fft, memory, begin, end);
              });
}

template <class T, kind Which>
void run(const product_plan<T>& plan, const detail::product_tables<T>& tables) {
  const int l1 = tables.x.lmax, l2 = tables.y.lmax, l3 = tables.z.lmax;
  const double l = std::max({l1, l2, l3}) + 1;
  share_tiles(plan, std::size_t(detail::product_scratch(Which, l1, l2, l3)), 12 * l * l * l,
              [&](vector<T>* memory, std::size_t begin, std::size_t end) {
                grid_tiles<T, Which>::run(plan, tables, memory, begin, end);
              });
}

}  // namespace

template <class T>
void grid_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                  std::size_t samples, std::size_t channels, const product_options<T>& options) {
  const int nodes = nodes_for(l1 + l2 + l3);
  const detail::product_tables<T> tables{parallels_of<T>(l1, nodes), parallels_of<T>(l2, nodes),
                                         parallels_of<T>(l3, nodes)};
  const product_plan<T> plan(order_of(l1), order_of(l2), order_of(l3), x, y, out, odd, samples, channels, options);
  switch (options.which) {
    case kind::even:
      if (std::min({l1, l2, l3}) >= fft_from) return run_by_fft(plan, tables);
      if (run_fixed_grid(plan, tables)) return;
      return run<T, kind::even>(plan, tables);
    case kind::odd:
      return run<T, kind::odd>(plan, tables);
    case kind::sum:
      return run<T, kind::sum>(plan, tables);
    case kind::complete:
      return run<T, kind::complete>(plan, tables);
  }
}
template void grid_product(int, int, int, features<const float>, features<const float>, features<float>,
                           features<float>, std::size_t, std::size_t, const product_options<float>&);
template void grid_product(int, int, int, features<const double>, features<const double>, features<double>,
                           features<double>, std::size_t, std::size_t, const product_options<double>&);

}  // namespace telamon::so3
