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
struct fft_storage {
  std::vector<T> twiddles;
  detail::fft_plan<T> view;
};

template <class T>
struct fourier_storage {
  std::vector<T> table;
  detail::fourier_basis<T> view;
};

// A_k with P_lm(theta) = sum_k A_k {cos, sin}(k theta), for k = 0..l, by the midpoint rule, which is exact.
std::vector<double> cosine_coefficients(int m, int l) {
  constexpr double pi = 3.14159265358979323846;
  const int n = l + 1;
  const std::size_t size = std::size_t(n);
  std::vector<double> all(size), slope(size), a(size);
  for (int j = 0; j < n; ++j) {
    const double theta = pi * (j + 0.5) / n;
    detail::legendre(m, l, theta, all.data(), slope.data());
    for (int k = l % 2; k <= l; k += 2) {
      const double wave = m % 2 == 0 ? std::cos(k * theta) : std::sin(k * theta);
      a[std::size_t(k)] += (k == 0 ? 1.0 : 2.0) / n * all[std::size_t(l)] * wave;
    }
  }
  return a;
}

template <class T>
fourier_storage<T> make_to_fourier(int lmax) {
  fourier_storage<T> s;
  for (int m = 0; m <= lmax; ++m) {
    for (int l = m; l <= lmax; ++l) {
      const std::vector<double> a = cosine_coefficients(m, l);
      for (int k = l % 2; k <= l; k += 2) {
        s.table.push_back(T(a[std::size_t(k)] * (k == 0 ? 1 : 0.5) * (m == 0 ? 1 : std::sqrt(0.5))));
      }
    }
  }
  s.view = {lmax, lmax, s.table.data()};
  return s;
}

template <class T>
fourier_storage<T> make_from_fourier(int lmax, int highest) {
  const auto j = [](int n) { return n % 2 == 0 ? 2.0 / (1.0 - double(n) * n) : 0.0; };
  fourier_storage<T> s;
  for (int m = 0; m <= lmax; ++m) {
    for (int l = m; l <= lmax; ++l) {
      const std::vector<double> a = cosine_coefficients(m, l);
      for (int q = l % 2; q <= highest; q += 2) {
        double sum = 0;
        for (int k = l % 2; k <= l; k += 2) {
          sum += a[std::size_t(k)] * (m % 2 == 0 ? j(k - q) + j(k + q) : j(k - q) - j(k + q));
        }
        s.table.push_back(T(sum / 4 * (q == 0 ? 1 : 2) * (m == 0 ? 1 : std::sqrt(2.0))));
      }
    }
  }
  s.view = {lmax, highest, s.table.data()};
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

const tile_order& natural_order_of(int lmax) {
  static auto* orders = new cache<int, tile_order>;
  return orders->get(lmax, [&] {
    tile_order order;
    for (int l = 0; l <= lmax; ++l) {
      for (int k = l * l; k < components(l); ++k) order.component.push_back(k), order.degree.push_back(l);
    }
    return order;
  });
}

template <class T>
const detail::parallels<T>& parallels_of(int lmax, int nodes) {
  static auto* tables = new cache<std::pair<int, int>, detail::parallels_storage<T>>;
  return tables->get({lmax, nodes}, [&] { return detail::make_parallels<T>(lmax, nodes); }).view;
}

template <class T>
const detail::fft_plan<T>& fft_of(int n) {
  static auto* plans = new cache<int, fft_storage<T>>;
  return plans
      ->get(n,
            [&] {
              fft_storage<T> s;
              s.view = detail::make_fft_plan(n, s.twiddles);
              return s;
            })
      .view;
}

template <class T>
const detail::fourier_basis<T>& to_fourier(int lmax) {
  static auto* tables = new cache<int, fourier_storage<T>>;
  return tables->get(lmax, [&] { return make_to_fourier<T>(lmax); }).view;
}

template <class T>
const detail::fourier_basis<T>& from_fourier(int lmax, int highest) {
  static auto* tables = new cache<std::pair<int, int>, fourier_storage<T>>;
  return tables->get({lmax, highest}, [&] { return make_from_fourier<T>(lmax, highest); }).view;
}

#define TELAMON_SO3_TABLES(T)                                  \
  template const detail::parallels<T>& parallels_of(int, int); \
  template const detail::fft_plan<T>& fft_of(int);             \
  template const detail::fourier_basis<T>& to_fourier(int);    \
  template const detail::fourier_basis<T>& from_fourier(int, int);
TELAMON_SO3_TABLES(float)
TELAMON_SO3_TABLES(double)
#undef TELAMON_SO3_TABLES

}  // namespace telamon::so3::tiles
