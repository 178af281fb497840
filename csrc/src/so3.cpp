// Products of functions on the sphere over arrays.
#include "so3_tiles.hpp"

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "so3_sparse.hpp"
#include "so3_tables.hpp"

#include <algorithm>

namespace telamon::so3 {
namespace {

using namespace tiles;

constexpr int max_degree = 1000, max_factors = 16;

template <class T>
struct product_plan {
  int l1, l2, l3;
  detail::product_tables<T> tables;
  const tile_order *x, *y, *z;
  features<const T> in_x, in_y;
  features<T> out, odd;
  product_options<T> options;
  std::size_t channels, end;

  product_plan(int l1_, int l2_, int l3_, features<const T> x_, features<const T> y_, features<T> out_,
               features<T> odd_, std::size_t samples, std::size_t channels_, const product_options<T>& options_)
      : l1(l1_),
        l2(l2_),
        l3(l3_),
        x(&order_of(l1)),
        y(&order_of(l2)),
        z(&order_of(l3)),
        in_x(x_),
        in_y(y_),
        out(out_),
        odd(odd_),
        options(options_),
        channels(channels_),
        end(samples * channels_) {
    const int nodes = nodes_for(l1 + l2 + l3);
    tables = {parallels_of<T>(l1, nodes), parallels_of<T>(l2, nodes), parallels_of<T>(l3, nodes)};
  }
};

TELAMON_MULTIVERSION_TEMPLATE(grid_tiles, (class T, kind Which),
                              (const product_plan<T>& plan, vector<T>* memory, std::size_t begin, std::size_t end), {
                                const int k1 = components(plan.l1), k2 = components(plan.l2), k3 = components(plan.l3);
                                vector<T>*x = memory, *y = x + k1, *z = y + k2, *odd = z + k3, *rest = odd + k3;
                                for (std::size_t tile = begin; tile < end; ++tile) {
                                  const columns at{tile * lanes<T>::count, plan.end, plan.channels};
                                  gather(plan.in_x, at, plan.x->component.data(), k1, x);
                                  gather(plan.in_y, at, plan.y->component.data(), k2, y);
                                  weigh(plan.options.x, at, plan.x->degree.data(), k1, x);
                                  weigh(plan.options.y, at, plan.y->degree.data(), k2, y);
                                  for (int i = 0; i < k3; ++i) z[i] = vector<T>{};
                                  if (Which == kind::complete)
                                    for (int i = 0; i < k3; ++i) odd[i] = vector<T>{};
                                  detail::product_tile<Which>(plan.tables, x, y, z, odd, rest);
                                  weigh(plan.options.out, at, plan.z->degree.data(), k3, z);
                                  scatter(z, plan.z->component.data(), k3, plan.out, at, plan.options.accumulate);
                                  if (Which == kind::complete) {
                                    weigh(plan.options.out, at, plan.z->degree.data(), k3, odd);
                                    scatter(odd, plan.z->component.data(), k3, plan.odd, at, plan.options.accumulate);
                                  }
                                }
                              })

template <class T, kind Which>
void run_grid(const product_plan<T>& plan) {
  const double l = std::max({plan.l1, plan.l2, plan.l3}) + 1;
  const std::size_t size = std::size_t(components(plan.l1) + components(plan.l2) + 2 * components(plan.l3)) +
                           std::size_t(detail::product_scratch(Which, plan.l1, plan.l2, plan.l3));
  const std::size_t count = (plan.end + lanes<T>::count - 1) / lanes<T>::count;
  parallel_for(count, tile_grain(3 * l * l * l), [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(size);
    grid_tiles<T, Which>::run(plan, memory.data(), begin, end);
  });
}

template <class T>
void product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
             std::size_t samples, std::size_t channels, const product_options<T>& options) {
  for (int l : {l1, l2, l3}) {
    require(0 <= l && l <= max_degree, "so3.gaunt_product: a degree is ", l, "; pass degrees from 0 to ", max_degree);
  }
  require(l3 <= l1 + l2, "so3.gaunt_product: l3 is ", l3, ", the product has degree l1 + l2 = ", l1 + l2,
          "; pass an l3 up to that");
  if (samples == 0 || channels == 0) return;
  if (options.how == method::sparse || (options.how == method::automatic && std::max({l1, l2, l3}) <= sparse_until)) {
    return sparse_product(l1, l2, l3, x, y, out, odd, samples, channels, options);
  }
  const product_plan<T> plan(l1, l2, l3, x, y, out, odd, samples, channels, options);
  switch (options.which) {
    case kind::even:
      return run_grid<T, kind::even>(plan);
    case kind::odd:
      return run_grid<T, kind::odd>(plan);
    case kind::sum:
      return run_grid<T, kind::sum>(plan);
    case kind::complete:
      return run_grid<T, kind::complete>(plan);
  }
}

template <class T>
struct monomial_plan {
  std::vector<detail::parallels<T>> tables;
  std::vector<const tile_order*> orders;
  detail::parallels<T> out_table;
  span<const factor<T>> factors;
  features<T> out;
  int lmax, total, circles;
  bool accumulate;
  std::size_t channels, end;
};

TELAMON_MULTIVERSION_TEMPLATE(
    monomial_tiles, (class T), (const monomial_plan<T>& plan, vector<T>* memory, std::size_t begin, std::size_t end), {
      const int n = int(plan.factors.size()), k3 = components(plan.lmax);
      const std::vector<int>& z_order = order_of(plan.lmax).component;
      detail::monomial_factor<vector<T>> factors[max_factors];
      for (std::size_t tile = begin; tile < end; ++tile) {
        const columns at{tile * lanes<T>::count, plan.end, plan.channels};
        vector<T>* next = memory;
        for (int k = 0; k < n; ++k) {
          const factor<T>& f = plan.factors[std::size_t(k)];
          gather(f.x, at, plan.orders[std::size_t(k)]->component.data(), components(f.lmax), next);
          factors[k] = {next, f.power};
          next += components(f.lmax);
        }
        for (int i = 0; i < k3; ++i) next[i] = vector<T>{};
        detail::monomial_tile(plan.tables.data(), factors, n, plan.out_table, plan.total, next, next + k3);
        scatter(next, z_order.data(), k3, plan.out, at, plan.accumulate);
      }
    })

template <class T>
void monomial(span<const factor<T>> factors, int lmax, features<T> out, bool accumulate, std::size_t samples,
              std::size_t channels) {
  require(1 <= factors.size() && factors.size() <= std::size_t(max_factors) - 1, "so3.gaunt_monomial: there are ",
          factors.size(), " factors; pass 1 to ", max_factors - 1);
  std::vector<factor<T>> all(factors.begin(), factors.end());
  monomial_plan<T> plan;
  int power = 0;
  plan.total = 0;
  for (const factor<T>& f : all) {
    require(0 <= f.lmax && f.lmax <= max_degree, "so3.gaunt_monomial: a degree is ", f.lmax,
            "; pass degrees from 0 to ", max_degree);
    require(f.power >= 1, "so3.gaunt_monomial: a power is ", f.power, "; pass powers from 1 on");
    plan.total += f.power * f.lmax, power += f.power;
  }
  require(0 <= lmax && lmax <= plan.total, "so3.gaunt_monomial: lmax is ", lmax, ", the product has degree ",
          plan.total, "; pass an lmax up to that");
  if (samples == 0 || channels == 0) return;
  const T one = 1;
  if (power == 1) all.push_back({0, 1, features<const T>(&one, 0, 0, 0)});  // times the constant function
  const int nodes = nodes_for(plan.total + lmax);
  std::size_t inputs = 0;
  for (const factor<T>& f : all) {
    plan.tables.push_back(parallels_of<T>(f.lmax, nodes));
    plan.orders.push_back(&order_of(f.lmax));
    inputs += std::size_t(components(f.lmax));
  }
  plan.out_table = parallels_of<T>(lmax, nodes);
  plan.factors = all, plan.out = out, plan.lmax = lmax, plan.accumulate = accumulate;
  plan.channels = channels, plan.end = samples * channels;
  const std::size_t size =
      inputs + std::size_t(components(lmax)) + std::size_t(detail::monomial_scratch(plan.total, int(all.size()), lmax));
  const double l = plan.total + 1;
  parallel_for((plan.end + lanes<T>::count - 1) / lanes<T>::count, tile_grain(3 * l * l * l),
               [&](std::size_t begin, std::size_t end) {
                 const scratch<T> memory(size);
                 monomial_tiles<T>::run(plan, memory.data(), begin, end);
               });
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

void gaunt_monomial(span<const factor<float>> factors, int lmax, features<float> out, bool accumulate,
                    std::size_t samples, std::size_t channels) {
  monomial(factors, lmax, out, accumulate, samples, channels);
}
void gaunt_monomial(span<const factor<double>> factors, int lmax, features<double> out, bool accumulate,
                    std::size_t samples, std::size_t channels) {
  monomial(factors, lmax, out, accumulate, samples, channels);
}

}  // namespace telamon::so3
