// The templates that the CUDA kernels consist of, on the host: one column at a time, and a column by many threads that
// are played one after the other. They must agree with the array API, and stay inside the memory that they ask for.
#if !defined(TELAMON_NO_FORCED_INLINE)
#define TELAMON_NO_FORCED_INLINE  // a third of the compiler's time
#endif

#include <doctest/doctest.h>
#include <telamon/so3.hpp>
#include <telamon/so3/block.hpp>
#include <telamon/so3/columns.hpp>
#include <telamon/so3/parallels.hpp>
#include <telamon/so3/straight.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "so3_checks.hpp"

namespace {

namespace so3 = telamon::so3;
namespace columns = telamon::so3::columns;
using so3::components;
using so3::kind;

constexpr std::size_t samples = 3, channels = 2;
constexpr kind kinds[] = {kind::even, kind::odd, kind::sum, kind::complete};

struct degrees {
  int x, y, z;
};
// Nodes of both parities, so with and without a parallel on the equator; orders that one factor alone has; more pairs
// of parallels and more degrees than a block takes at once.
constexpr degrees cases[] = {{0, 0, 0}, {1, 0, 1}, {1, 1, 2}, {2, 3, 1}, {3, 3, 3}, {4, 2, 6}, {6, 6, 6}, {9, 11, 12}};

// Numbers between -1 and 1 with no pattern.
template <class T>
std::vector<T> scrambled(std::size_t n, double seed) {
  std::vector<T> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = T(std::sin(seed + 12.9898 * double(i * i % 1009)));
  return x;
}

// (samples, components, channels) in the order (samples, channels, components), to have three different steps.
template <class T>
struct features {
  int lmax;
  std::vector<T> data;
  features(int l, double seed) : lmax(l), data(scrambled<T>(samples * channels * std::size_t(components(l)), seed)) {}
  std::ptrdiff_t sample() const { return std::ptrdiff_t(channels) * components(lmax); }
  columns::array array() {
    return {data.data(), sample(), 1, components(lmax), sizeof(T) == 8 ? columns::storage::f64 : columns::storage::f32};
  }
  so3::features<T> view() { return {data.data(), sample(), 1, components(lmax)}; }
};

// Memory of exactly the size, poisoned; whoever writes past it is caught.
template <class T>
struct memory {
  static constexpr std::size_t margin = 16;
  std::size_t size;
  std::vector<T> data;
  explicit memory(std::ptrdiff_t n) : size(std::size_t(n)), data(size + margin, std::numeric_limits<T>::quiet_NaN()) {
    std::fill(data.begin() + n, data.end(), T(7));
  }
  ~memory() { CHECK(std::count(data.end() - margin, data.end(), T(7)) == margin); }
};

template <class T>
struct tables {
  so3::detail::parallels_storage<T> x, y, z;
  explicit tables(degrees l)
      : x(so3::detail::make_parallels<T>(l.x, so3::detail::nodes_for(l.x + l.y + l.z))),
        y(so3::detail::make_parallels<T>(l.y, so3::detail::nodes_for(l.x + l.y + l.z))),
        z(so3::detail::make_parallels<T>(l.z, so3::detail::nodes_for(l.x + l.y + l.z))) {}
  so3::detail::product_tables<T> view() const { return {x.view, y.view, z.view}; }
};

template <class T>
void by_column(kind which, const columns::product_plan<T>& plan, degrees l) {
  for (std::size_t i = 0; i < plan.count; ++i) {
    memory<T> m(columns::product_memory(which, l.x, l.y, l.z));
    const columns::column at = columns::column_of(plan, i);
    if (which == kind::even) columns::product<kind::even>(plan, at, m.data.data());
    if (which == kind::odd) columns::product<kind::odd>(plan, at, m.data.data());
    if (which == kind::sum) columns::product<kind::sum>(plan, at, m.data.data());
    if (which == kind::complete) columns::product<kind::complete>(plan, at, m.data.data());
  }
}

template <class T>
void by_block(kind which, const columns::product_plan<T>& plan, degrees l, int threads) {
  memory<T> m(columns::block_product<T>::memory(which, l.x, l.y, l.z));
  columns::block_product<T> block(plan, which, m.data.data());
  for (std::size_t i = 0; i < plan.count; ++i) {
    const columns::column at = columns::column_of(plan, i);
    for (int t = 0; t < threads; ++t) block.start(at, t, threads);
    for (int first = 0; first < block.pairs(); first += block.pairs_at_once) {
      for (int t = 0; t < threads; ++t) block.synthesis(first, t, threads);
      for (int t = 0; t < threads; ++t) block.convolution(first, t, threads);
      for (int t = 0; t < threads; ++t) block.analysis(first, t, threads);
    }
    for (int t = 0; t < threads; ++t) block.finish(at, t, threads);
  }
}

template <class T, class Run>
void check_product(kind which, degrees l, bool weighted, Run run) {
  CAPTURE(int(which));
  CAPTURE(l.x);
  CAPTURE(l.y);
  CAPTURE(l.z);
  features<T> x(l.x, 1), y(l.y, 2), out(l.z, 3), odd(l.z, 4), want(l.z, 3), want_odd(l.z, 4);
  const std::vector<T> w1 = scrambled<T>(std::size_t(l.x + 1) * channels, 5),
                       w2 = scrambled<T>(std::size_t(l.y + 1), 6),
                       w3 = scrambled<T>(std::size_t(l.z + 1) * channels, 7);
  so3::product_options<T> options;
  options.which = which, options.how = so3::method::grid, options.accumulate = weighted;
  if (weighted) options.x = {w1.data(), channels, 1}, options.y = {w2.data(), 1, 0}, options.out = {w3.data(), 2, 1};
  so3::gaunt_product(l.x, l.y, l.z, x.view(), y.view(), want.view(), want_odd.view(), samples, channels, options);

  const tables<T> on_parallels(l);
  const columns::product_plan<T> plan = {on_parallels.view(), x.array(), y.array(),         out.array(),
                                         odd.array(),         options.x, options.y,         options.out,
                                         options.accumulate,  channels,  samples * channels};
  run(plan);
  check_close(out.data, want.data);
  check_close(odd.data, want_odd.data);  // untouched in both but for kind::complete
}

TEST_CASE_TEMPLATE("a thread's product of one column", T, float, double) {
  for (const degrees l : cases) {
    for (const kind which : kinds) {
      for (const bool weighted : {false, true}) {
        check_product<T>(which, l, weighted, [&](const auto& plan) { by_column(which, plan, l); });
      }
    }
  }
}

TEST_CASE_TEMPLATE("a block's product of one column, by any number of threads", T, float, double) {
  for (const degrees l : cases) {
    for (const kind which : kinds) {
      for (const int threads : {1, 5, 128}) {
        check_product<T>(which, l, threads == 5, [&](const auto& plan) { by_block(which, plan, l, threads); });
      }
    }
  }
}

template <kind Which, class T>
void straight(const columns::product_plan<T>& plan, int l) {
  for (std::size_t i = 0; i < plan.count; ++i) {
    const columns::column at = columns::column_of(plan, i);
    if (l == 1) columns::straight<Which, 1>(plan, at);
    if (l == 2) columns::straight<Which, 2>(plan, at);
    if (l == 3) columns::straight<Which, 3>(plan, at);
    if (l == 4) columns::straight<Which, 4>(plan, at);
  }
}

TEST_CASE_TEMPLATE("a thread's product of equal low degrees", T, float, double) {
  for (int l = 1; l <= so3::detail::straight_even_until; ++l) {
    for (const bool weighted : {false, true}) {
      const degrees equal = {l, l, l};
      check_product<T>(kind::even, equal, weighted, [&](const auto& plan) { straight<kind::even>(plan, l); });
      check_product<T>(kind::odd, equal, weighted, [&](const auto& plan) { straight<kind::odd>(plan, l); });
      check_product<T>(kind::sum, equal, weighted, [&](const auto& plan) { straight<kind::sum>(plan, l); });
      check_product<T>(kind::complete, equal, weighted, [&](const auto& plan) { straight<kind::complete>(plan, l); });
    }
  }
}

TEST_CASE_TEMPLATE("edges of one receiver", T, float, double) {
  const degrees l = {3, 4, 5};
  constexpr std::size_t edges = 7, receivers = 3;  // receiver 1 has no edge
  const std::int64_t senders[edges] = {2, 0, 1, 1, 0, 2, 2}, receiver[edges] = {2, 0, 2, 0, 2, 0, 0};
  const std::int64_t order[edges] = {1, 3, 5, 6, 0, 2, 4}, start[receivers + 1] = {0, 4, 4, 7};
  features<T> x(l.x, 1), out(l.z, 2), want(l.z, 3);
  std::vector<T> r = scrambled<T>(3 * edges, 4), w = scrambled<T>(edges * std::size_t(l.y + 1) * channels, 5);
  for (std::size_t e = 0; e < edges; ++e) {
    const double length = std::hypot(double(r[3 * e]), double(r[3 * e + 1]), double(r[3 * e + 2]));
    for (std::size_t k = 0; k < 3; ++k) r[3 * e + k] = T(double(r[3 * e + k]) / length);
  }
  std::vector<T> harmonics(edges * std::size_t(components(l.y)));
  so3::solid_harmonics(l.y, {r.data(), 3, 1}, {harmonics.data(), components(l.y), 1}, edges);

  so3::edge_list<T> list;
  list.edges = edges, list.outputs = receivers, list.senders = senders, list.receivers = receiver;
  list.directions = {r.data(), 3, 1};
  list.weights = {w.data(), std::ptrdiff_t(l.y + 1) * std::ptrdiff_t(channels), channels, 1};
  so3::gaunt_conv(l.x, l.y, l.z, x.view(), list, want.view(), channels);

  const tables<T> on_parallels(l);
  const columns::array weights = {w.data(), list.weights.sample, list.weights.component, 1, x.array().type};
  columns::conv_plan<T> plan = {
      on_parallels.view(), x.array(), weights, out.array(), harmonics.data(), senders, order, start, samples, channels,
      receivers * channels};
  const auto run = [&] {
    for (std::size_t i = 0; i < plan.count; ++i) {
      memory<T> m(columns::conv_memory(l.x, l.y, l.z));
      columns::conv(plan, columns::column_of(plan, i), m.data.data());
    }
  };
  run();
  check_close(out.data, want.data);

  plan.nodes = 2;  // senders 2 are none then; they belong to receivers 0 and 2
  run();
  for (std::size_t i = 0; i < out.data.size(); ++i) {
    const bool empty = i / std::size_t(out.sample()) == 1;
    CHECK((empty ? out.data[i] == 0 : std::isnan(out.data[i])));
  }

  plan.nodes = samples, plan.senders = plan.order = plan.start = nullptr;  // edge e from row e to output e
  list.senders = list.receivers = nullptr, list.edges = list.outputs = samples;
  so3::gaunt_conv(l.x, l.y, l.z, x.view(), list, want.view(), channels);
  run();
  check_close(out.data, want.data);
}

TEST_CASE_TEMPLATE("a monomial of one column", T, float, double) {
  struct powers {
    std::vector<int> lmax, power;
    int out;
  };
  for (const powers& p : {powers{{3}, {1}, 2}, powers{{2}, {2}, 4}, powers{{2}, {4}, 3},
                          powers{{1, 0, 3}, {2, 1, 2}, 3}, powers{{4, 2}, {1, 3}, 10}}) {
    for (const bool accumulate : {false, true}) {
      std::vector<features<T>> x;
      std::vector<so3::factor<T>> factors;
      for (std::size_t k = 0; k < p.lmax.size(); ++k) x.emplace_back(p.lmax[k], double(k));
      for (std::size_t k = 0; k < x.size(); ++k) factors.push_back({p.lmax[k], p.power[k], x[k].view()});
      features<T> out(p.out, 8), want(p.out, 8);
      so3::gaunt_monomial({factors.data(), factors.size()}, p.out, want.view(), accumulate, samples, channels);

      columns::monomial_plan<T> plan = {};
      int total = 0, power = 0;
      for (std::size_t k = 0; k < x.size(); ++k) total += p.lmax[k] * p.power[k], power += p.power[k];
      const int nodes = so3::detail::nodes_for(total + p.out);
      std::vector<so3::detail::parallels_storage<T>> stored;
      for (const int lmax : p.lmax) stored.push_back(so3::detail::make_parallels<T>(lmax, nodes));
      for (std::size_t k = 0; k < x.size(); ++k) {
        plan.powers[k] = p.power[k], plan.tables[k] = stored[k].view, plan.x[k] = x[k].array();
      }
      plan.factors = int(x.size());
      const auto constant = so3::detail::make_parallels<T>(0, nodes);
      if (power == 1) {  // a product has two factors: times one
        plan.powers[1] = 1, plan.tables[1] = constant.view, plan.x[1] = {nullptr, 0, 0, 0, columns::storage::one};
        plan.factors = 2;
      }
      const auto result = so3::detail::make_parallels<T>(p.out, nodes);
      plan.total = total, plan.out_table = result.view, plan.out = out.array(), plan.accumulate = accumulate;
      plan.channels = channels, plan.count = samples * channels;
      for (std::size_t i = 0; i < plan.count; ++i) {
        memory<T> m(columns::monomial_memory(plan));
        columns::monomial(plan, columns::column_of(plan, i), m.data.data());
      }
      check_close(out.data, want.data);
    }
  }
}

}  // namespace
