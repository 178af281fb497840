// The product by the nonzero coefficients one by one.
#include <telamon/so3/sparse_kernels.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

namespace telamon::so3 {
namespace {

using namespace tiles;

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
                                on_tiles<false>(plan, memory, begin, end,
                                                [&](const vector<T>* x, const vector<T>* y, vector<T>* z, vector<T>*,
                                                    vector<T>*) TELAMON_INLINE_LAMBDA {
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
                                                    for (; n < last; ++n)
                                                      sum[0] += e[n].value * (x[e[n].i] * y[e[n].j]);
                                                    z[k] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
                                                  }
                                                });
                              })

template <class T>
void by_table(int l1, int l2, int l3, const product_plan<T>& plan) {
  const sparse_table<T>& table = table_of<T>(l1, l2, l3, plan.options.which);
  share_tiles(plan, 0, double(table.entries.size()), [&](vector<T>* memory, std::size_t begin, std::size_t end) {
    sparse_tiles<T>::run(plan, table, memory, begin, end);
  });
}

// ---- straight-line kernels, for equal degrees

// `tiles` vectors of neighbouring channels, from array to array; the steps are from component to component.
TELAMON_MULTIVERSION_TEMPLATE(straight_run, (class T, int L, bool Odd),
                              (const T* x, std::ptrdiff_t x_step, const T* y, std::ptrdiff_t y_step, T* z,
                               std::ptrdiff_t z_step, std::size_t tiles, bool add),
                              {
                                constexpr int count = lanes<T>::count;
                                for (std::size_t tile = 0; tile < tiles; ++tile, x += count, y += count, z += count) {
                                  detail::straight_product<L, Odd, T>(
                                      [=](int k) TELAMON_INLINE_LAMBDA { return load(x + k * x_step); },
                                      [=](int k) TELAMON_INLINE_LAMBDA { return load(y + k * y_step); },
                                      [=](int k, vector<T> v) TELAMON_INLINE_LAMBDA {
                                        T* to = z + k * z_step;
                                        store(add ? load(to) + v : v, to);
                                      });
                                }
                              })

template <class T>
struct strided_features {
  T* data;
  std::ptrdiff_t step;
};

template <class T, int L>
void straight_both(kind which, strided_features<const T> x, strided_features<const T> y, strided_features<T> z,
                   strided_features<T> odd, std::size_t tiles, bool add) {
  if constexpr (L <= detail::straight_even_until) {
    if (which != kind::odd) straight_run<T, L, false>::run(x.data, x.step, y.data, y.step, z.data, z.step, tiles, add);
  }
  if (which != kind::even) {
    const strided_features<T> to = which == kind::complete ? odd : z;
    straight_run<T, L, true>::run(x.data, x.step, y.data, y.step, to.data, to.step, tiles, add || which == kind::sum);
  }
}

template <class T, int L>
void straight(const product_plan<T>& plan) {
  constexpr std::size_t count = lanes<T>::count;
  const product_options<T>& options = plan.options;
  const bool pair = options.which == kind::complete;
  const bool direct = plan.x.channel == 1 && plan.y.channel == 1 && plan.out.channel == 1 &&
                      (!pair || plan.odd.channel == 1) && plan.channels % count == 0 && options.x.data == nullptr &&
                      options.y.data == nullptr && options.out.data == nullptr;
  share_tiles(plan, 0, L * L * L * L, [&](vector<T>* memory, std::size_t begin, std::size_t end) {
    if (direct) {
      columns at(begin * count, plan.end, plan.channels);
      for (std::size_t tile = begin, n; tile < end; tile += n, at.advance(n * count)) {
        n = std::min((plan.channels - at.channel) / count, end - tile);
        straight_both<T, L>(options.which, {at.address(plan.x), plan.x.component},
                            {at.address(plan.y), plan.y.component}, {at.address(plan.out), plan.out.component},
                            {pair ? at.address(plan.odd) : nullptr, plan.odd.component}, n, options.accumulate);
      }
      return;
    }
    const auto numbers = [=](auto* v) { return strided_features<const T>{reinterpret_cast<const T*>(v), count}; };
    const auto results = [=](auto* v) { return strided_features<T>{reinterpret_cast<T*>(v), count}; };
    const auto kernel = [&](const vector<T>* x, const vector<T>* y, vector<T>* z, vector<T>* odd,
                            vector<T>*) TELAMON_INLINE_LAMBDA {
      straight_both<T, L>(options.which, numbers(x), numbers(y), results(z), results(odd), 1, false);
    };
    pair ? on_tiles<true>(plan, memory, begin, end, kernel) : on_tiles<false>(plan, memory, begin, end, kernel);
  });
}

}  // namespace

template <class T>
void sparse_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                    std::size_t samples, std::size_t channels, const product_options<T>& options) {
  product_plan<T> plan(natural_order_of(l1), natural_order_of(l2), natural_order_of(l3), x, y, out, odd, samples,
                       channels, options);
  if (l1 == l2 && l2 == l3) {
    if (l1 == 1) return straight<T, 1>(plan);
    if (l1 == 2) return straight<T, 2>(plan);
    if (l1 == 3) return straight<T, 3>(plan);
    if (l1 == 4) return straight<T, 4>(plan);
    if (l1 == 5 && options.which == kind::odd) return straight<T, 5>(plan);
  }
  if (options.which != kind::complete) return by_table(l1, l2, l3, plan);
  plan.options.which = kind::even;
  by_table(l1, l2, l3, plan);
  plan.options.which = kind::odd, plan.out = odd;
  by_table(l1, l2, l3, plan);
}
template void sparse_product(int, int, int, features<const float>, features<const float>, features<float>,
                             features<float>, std::size_t, std::size_t, const product_options<float>&);
template void sparse_product(int, int, int, features<const double>, features<const double>, features<double>,
                             features<double>, std::size_t, std::size_t, const product_options<double>&);

}  // namespace telamon::so3
