// Products of powers of several functions.
#include "so3_tiles.hpp"

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "so3_tables.hpp"

#include <algorithm>

namespace telamon::so3 {
namespace {

using namespace tiles;

constexpr int max_degree = 1000, max_factors = 16;

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
        const columns at(tile * lanes<T>::count, plan.end, plan.channels);
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
  parallel_for((plan.end + lanes<T>::count - 1) / lanes<T>::count, tile_grain(12 * l * l * l),
               [&](std::size_t begin, std::size_t end) {
                 const scratch<T> memory(size);
                 monomial_tiles<T>::run(plan, memory.data(), begin, end);
               });
}

}  // namespace

void gaunt_monomial(span<const factor<float>> factors, int lmax, features<float> out, bool accumulate,
                    std::size_t samples, std::size_t channels) {
  monomial(factors, lmax, out, accumulate, samples, channels);
}
void gaunt_monomial(span<const factor<double>> factors, int lmax, features<double> out, bool accumulate,
                    std::size_t samples, std::size_t channels) {
  monomial(factors, lmax, out, accumulate, samples, channels);
}

}  // namespace telamon::so3
