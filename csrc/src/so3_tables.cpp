#include "so3_tables.hpp"

#include <telamon/so3/legendre.hpp>

#include <map>
#include <memory>
#include <mutex>

namespace telamon::so3::tiles {
namespace {

// Finds or makes an entry. Entries stay where they are: others hold references.
template <class Key, class Value>
class cache {
 public:
  template <class Make>
  const Value& get(const Key& key, Make make) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Value>& entry = entries_[key];
    if (!entry) entry = std::make_unique<Value>(make());
    return *entry;
  }

 private:
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Value>> entries_;
};

template <class T>
struct parallels_storage {
  std::vector<T> synthesis, slope, analysis, inverse_sine;
  detail::parallels<T> view;
};

// Polynomials near the poles fall below what T holds; zeros are as good and do not slow the processor down.
template <class T>
T rounded(double value) {
  return std::abs(value) < (sizeof(T) == 8 ? 1e-290 : 1e-30) ? T(0) : T(value);
}

template <class T>
parallels_storage<T> make_parallels(int lmax, int nodes) {
  const detail::gauss_legendre rule = detail::gauss_nodes(nodes);
  const int pairs = (nodes + 1) / 2;
  const std::size_t width = std::size_t(lmax) + 1;
  parallels_storage<T> s;
  std::vector<double> p(width * std::size_t(pairs)), slope(p.size());
  for (int m = 0; m <= lmax; ++m) {
    for (int i = 0; i < pairs; ++i) {
      const std::size_t row = std::size_t(i) * width;
      detail::legendre(m, lmax, rule.theta[std::size_t(i)], p.data() + row, slope.data() + row);
    }
    const double half = m == 0 ? 1 : std::sqrt(0.5);
    for (int l = m; l <= lmax; ++l) {
      for (int i = 0; i < pairs; ++i) {
        // On the equator functions of odd l + m are zero, and so are the slopes of the others: exactly, since `fold`
        // relies on it.
        const bool equator = 2 * i + 1 == nodes, odd = (l + m) % 2 != 0;
        const std::size_t at = std::size_t(i) * width + std::size_t(l);
        const double value = equator && odd ? 0 : p[at];
        s.synthesis.push_back(rounded<T>(half * value));
        s.slope.push_back(rounded<T>(equator && !odd ? 0 : half * slope[at]));
        s.analysis.push_back(rounded<T>(rule.weight[std::size_t(i)] / 2 / half * value));
      }
    }
  }
  for (int i = 0; i < pairs; ++i) s.inverse_sine.push_back(T(1 / std::sin(rule.theta[std::size_t(i)])));
  s.view = {lmax, pairs, nodes % 2 != 0, s.synthesis.data(), s.slope.data(), s.analysis.data(), s.inverse_sine.data()};
  return s;
}

}  // namespace

const tile_order& order_of(int lmax) {
  static auto* orders = new cache<int, tile_order>;  // never destroyed: threads may outlive static objects
  return orders->get(lmax, [&] {
    tile_order order;
    for (int m = 0; m <= lmax; ++m) {
      for (int l = m; l <= lmax; ++l) {
        for (int sign = 1; sign >= (m == 0 ? 1 : -1); sign -= 2) {
          order.component.push_back(l * l + l + sign * m);
          order.degree.push_back(l);
        }
      }
    }
    return order;
  });
}

template <class T>
const detail::parallels<T>& parallels_of(int lmax, int nodes) {
  static auto* tables = new cache<std::pair<int, int>, parallels_storage<T>>;
  return tables->get({lmax, nodes}, [&] { return make_parallels<T>(lmax, nodes); }).view;
}
template const detail::parallels<float>& parallels_of(int, int);
template const detail::parallels<double>& parallels_of(int, int);

}  // namespace telamon::so3::tiles
