// The array API of telamon/kron.hpp against dense matrices, and errors. More shapes are tests/python/test_kron_*.py's
// business.
#include <doctest/doctest.h>
#include <telamon/core/isa.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/kron.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace {

namespace kron = telamon::kron;

template <class T>
using numbers = std::vector<T>;

// Numbers between -1 and 1 with no pattern.
template <class T>
numbers<T> scrambled(std::size_t n, double seed) {
  numbers<T> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = T(std::sin(seed + 12.9898 * double(i * i % 1009)));
  return x;
}

// The Kronecker product of row-major matrices, in double.
template <class T>
numbers<double> dense(const std::vector<kron::matrix<T>>& factors) {
  numbers<double> k{1.0};
  std::size_t rows = 1, columns = 1;
  for (const kron::matrix<T>& f : factors) {
    numbers<double> next(rows * f.rows * columns * f.columns);
    for (std::size_t i = 0; i < rows * f.rows; ++i) {
      for (std::size_t j = 0; j < columns * f.columns; ++j) {
        const std::size_t a = i % f.rows, b = j % f.columns;
        const double entry =
            f.data ? double(f.data[std::ptrdiff_t(a) * f.row + std::ptrdiff_t(b) * f.column]) : double(a == b);
        next[i * columns * f.columns + j] = k[i / f.rows * columns + j / f.columns] * entry;
      }
    }
    k.swap(next), rows *= f.rows, columns *= f.columns;
  }
  return k;
}

template <class T>
double largest_error(const numbers<T>& got, const numbers<double>& want) {
  REQUIRE(got.size() == want.size());
  double error = 0, scale = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    error = std::max(error, std::abs(double(got[i]) - want[i])), scale = std::max(scale, std::abs(want[i]));
  }
  return scale > 0 ? error / scale : error;
}

template <class T>
constexpr double tolerance = 100 * double(std::numeric_limits<T>::epsilon());  // sums of up to a hundred terms

}  // namespace

TEST_CASE_TEMPLATE("kron: products along axes are those with the dense matrix", T, float, double) {
  for (telamon::isa which : telamon::available_isas()) {
    telamon::set_isa(telamon::isa_name(which));
    const numbers<T> a = scrambled<T>(35, 1), b = scrambled<T>(9, 2), c = scrambled<T>(17 * 17, 3);
    const kron::matrix<T> rectangular{a.data(), 5, 7, 7, 1}, transposed{a.data(), 7, 5, 1, 7},
        small{b.data(), 3, 3, 3, 1}, large{c.data(), 17, 17, 17, 1}, identity{nullptr, 4, 4};
    const std::vector<std::vector<kron::matrix<T>>> cases{{small},
                                                          {rectangular},
                                                          {large, large},
                                                          {small, small, small},
                                                          {identity, large},
                                                          {large, identity, small},
                                                          {rectangular, transposed},
                                                          {transposed, small, rectangular},
                                                          {rectangular, rectangular, rectangular},
                                                          {identity, identity}};
    for (const auto& factors : cases) {
      std::size_t rows = 1, columns = 1;
      for (const auto& f : factors) rows *= f.rows, columns *= f.columns;
      const numbers<double> k = dense(factors);
      for (std::size_t batch : {1, 2}) {
        for (std::size_t r : {1, 3, 20}) {
          const numbers<T> x = scrambled<T>(batch * columns * r, 4);
          numbers<T> y(batch * rows * r, T(-7));
          numbers<double> want(y.size());
          for (std::size_t i = 0; i < want.size(); ++i) {
            const std::size_t n = i / (rows * r), row = i / r % rows;
            for (std::size_t j = 0; j < columns; ++j) {
              want[i] += k[row * columns + j] * double(x[(n * columns + j) * r + i % r]);
            }
          }
          kron::matmul(factors, x.data(), y.data(), batch, r);
          CHECK(largest_error(y, want) < tolerance<T>);
          if (rows == columns && factors.front().rows == factors.front().columns) {
            numbers<T> in_place = x;
            kron::matmul(factors, in_place.data(), in_place.data(), batch, r);
            CHECK(in_place == y);
          }
        }
      }
    }
  }
}

TEST_CASE("kron: products with factors that go through BLAS, in place and not, on one thread and two") {
  const std::size_t n = 230, m = 6;
  const numbers<double> a = scrambled<double>(n * n, 1), b = scrambled<double>(m * m, 2),
                        x = scrambled<double>(m * n * m, 3);
  const kron::matrix<double> large{a.data(), n, n, n, 1}, large_transposed{a.data(), n, n, 1, std::ptrdiff_t(n)},
      small{b.data(), m, m, m, 1};
  for (const auto& f : {large, large_transposed}) {
    const std::vector<kron::matrix<double>> factors{small, f, small};
    numbers<double> y(x.size()), want(x.size()), z;
    kron::matmul(factors, x.data(), y.data());
    const std::vector<kron::matrix<double>> apart{small, {nullptr, n * m, n * m}}, rest{{nullptr, m, m}, f, small};
    kron::matmul(apart, x.data(), want.data());
    z = want;
    // the middle axis by hand
    for (std::size_t l = 0; l < m; ++l) {
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t r = 0; r < m; ++r) {
          double sum = 0;
          for (std::size_t k = 0; k < n; ++k) {
            sum += f.data[std::ptrdiff_t(i) * f.row + std::ptrdiff_t(k) * f.column] * want[(l * n + k) * m + r];
          }
          z[(l * n + i) * m + r] = sum;
        }
      }
    }
    const std::vector<kron::matrix<double>> last{{nullptr, m * n, m * n}, small};
    kron::matmul(last, z.data(), z.data());
    CHECK(largest_error(y, z) < 1e-13);
  }
}

TEST_CASE_TEMPLATE("kron: gram matrices and the spectral pass", T, float, double) {
  const std::size_t shape[] = {3, 5, 4}, columns = 2;
  const numbers<T> x = scrambled<T>(3 * 5 * 4 * columns, 1);
  numbers<T> scales[3];
  const T* pointers[3];
  for (int i = 0; i < 3; ++i) {
    scales[i] = scrambled<T>(shape[i], 2 + i);
    for (T& s : scales[i]) s = s * s + T(0.1);
    pointers[i] = scales[i].data();
  }
  auto index = [&](std::size_t at, int axis) {
    at /= columns;
    return axis == 0 ? at / 20 : axis == 1 ? at / 4 % 5 : at % 4;
  };
  for (int axis = 0; axis < 3; ++axis) {
    const std::size_t n = shape[axis];
    numbers<T> got(n * n);
    numbers<double> want(n * n);
    for (std::size_t p = 0; p < x.size(); ++p) {
      for (std::size_t q = 0; q < x.size(); ++q) {
        bool same = p % columns == q % columns;
        double scale = 1;
        for (int i = 0; i < 3; ++i) {
          if (i == axis) continue;
          same = same && index(p, i) == index(q, i);
          scale *= double(scales[i][index(p, i)]);
        }
        if (same) want[index(p, axis) * n + index(q, axis)] += scale * double(x[p]) * double(x[q]);
      }
    }
    kron::gram(shape, std::size_t(axis), x.data(), static_cast<const T*>(nullptr), 0, pointers, got.data(), 1, columns);
    CHECK(largest_error(got, want) < tolerance<T>);
    kron::gram(shape, std::size_t(axis), x.data(), x.data(), n, pointers, got.data(), 1, columns);
    CHECK(largest_error(got, want) < tolerance<T>);
  }

  const telamon::span<const T> values[] = {scales[0], scales[1], scales[2]};
  numbers<double> weights[] = {numbers<double>(3), numbers<double>(5), numbers<double>(4)};
  double* const to[] = {weights[0].data(), weights[1].data(), weights[2].data()};
  numbers<T> out(x.size());
  const double noise = 0.25;
  const kron::spectral_sums sums = kron::spectral(values, noise, x.data(), out.data(), to, 1, columns);
  double logdet = 0, trace = 0, quadratic = 0;
  numbers<double> scaled(x.size()), want[] = {numbers<double>(3), numbers<double>(5), numbers<double>(4)};
  for (std::size_t p = 0; p < x.size(); ++p) {
    double lambda = 1;
    for (int i = 0; i < 3; ++i) lambda *= double(scales[i][index(p, i)]);
    scaled[p] = double(x[p]) / (lambda + noise), quadratic += double(x[p]) * scaled[p];
    if (p % columns != 0) continue;
    logdet += std::log(lambda + noise), trace += 1 / (lambda + noise);
    for (int i = 0; i < 3; ++i) want[i][index(p, i)] += lambda / double(scales[i][index(p, i)]) / (lambda + noise);
  }
  CHECK(largest_error(out, scaled) < tolerance<T>);
  CHECK(sums.logdet == doctest::Approx(logdet).epsilon(1e-13));
  CHECK(sums.trace == doctest::Approx(trace).epsilon(1e-13));
  CHECK(sums.quadratic == doctest::Approx(quadratic).epsilon(1e-13));
  for (int i = 0; i < 3; ++i) CHECK(largest_error(weights[i], want[i]) < 1e-13);
}

TEST_CASE("kron: the logarithms of a spectrum may be of any size") {
  numbers<double> big(1300, 1e200), odd{1.0, 0.0, 2.0};
  const telamon::span<const double> one[] = {big}, zero[] = {odd};
  CHECK(kron::spectral(one, 0, nullptr, nullptr, {}).logdet == doctest::Approx(1300 * std::log(1e200)).epsilon(1e-14));
  CHECK(kron::spectral(zero, 0, nullptr, nullptr, {}).logdet == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(kron::spectral(zero, -1.5, nullptr, nullptr, {}).logdet));
  odd[1] = 1e-310;
  CHECK(kron::spectral(zero, 0, nullptr, nullptr, {}).logdet == doctest::Approx(std::log(2e-310)).epsilon(1e-12));
}

TEST_CASE_TEMPLATE("kron: eigenvectors of symmetric and of Toeplitz matrices", T, float, double) {
  for (std::size_t n : {1, 2, 7, 40}) {
    numbers<T> column(n), a(n * n), w(n), q(n * n);
    for (std::size_t i = 0; i < n; ++i) column[i] = T(std::exp(-0.2 * double(i)) * std::cos(double(i)));
    numbers<double> want(n * n);
    for (std::size_t i = 0; i < n * n; ++i) {
      const std::size_t p = i / n, r = i % n;
      a[i] = column[p > r ? p - r : r - p], want[i] = double(a[i]);
    }
    for (bool toeplitz : {false, true}) {
      toeplitz ? kron::eigh_toeplitz(n, column.data(), w.data(), q.data())
               : kron::eigh(n, a.data(), w.data(), q.data());
      CHECK(std::is_sorted(w.begin(), w.end()));
      numbers<T> back(n * n);
      for (std::size_t i = 0; i < n * n; ++i) {
        for (std::size_t k = 0; k < n; ++k) back[i] += q[i / n * n + k] * w[k] * q[i % n * n + k];
      }
      CHECK(largest_error(back, want) < tolerance<T>);
    }
  }
}

TEST_CASE_TEMPLATE("kron: a process in state space is its dense matrix", T, float, double) {
  // Two states that mix, at points of growing distance.
  const std::size_t n = 9, m = 2;
  numbers<T> transitions;
  for (std::size_t i = 0; i < n; ++i) {
    const double t = 0.1 * double(i + 1), e = std::exp(-t);  // Matern 3/2: e^-t [[1 + t, t], [-t, 1 - t]]
    for (double v : {e * (1 + t), e * t, -e * t, e * (1 - t)}) transitions.push_back(T(v));
  }
  const T covariance[] = {1, 0, 0, 1}, h[] = {1, 0};
  const kron::state_space<T> k{n, m, transitions.data(), covariance, h};
  numbers<double> dense(n * n);
  for (std::size_t j = 0; j < n; ++j) {
    double state[] = {1, 0};
    for (std::size_t i = j; i < n; ++i) {
      if (i > j) {
        const T* a = transitions.data() + 4 * i;
        const double s0 = double(a[0]) * state[0] + double(a[1]) * state[1];
        state[1] = double(a[2]) * state[0] + double(a[3]) * state[1], state[0] = s0;
      }
      dense[i * n + j] = dense[j * n + i] = state[0];
    }
  }
  const std::size_t left = 2, right = 3;
  const numbers<T> x = scrambled<T>(left * n * right, 5);
  numbers<T> y(x.size()), back(x.size()), noise(n, T(0.3)), d(n), w(n * m);
  kron::state_space_matmul(k, x.data(), y.data(), left, right);
  numbers<double> want(x.size());
  for (std::size_t p = 0; p < x.size(); ++p) {
    const std::size_t l = p / (n * right), i = p / right % n;
    for (std::size_t j = 0; j < n; ++j) want[p] += dense[i * n + j] * double(x[(l * n + j) * right + p % right]);
  }
  CHECK(largest_error(y, want) < tolerance<T>);

  // (K + noise) applied to the solution gives x back; so do both halves of the square root one after the other.
  kron::state_space_factor(k, noise.data(), d.data(), w.data());
  kron::state_space_solve(k, d.data(), w.data(), x.data(), y.data(), left, right);
  kron::state_space_matmul(k, y.data(), back.data(), left, right);
  for (std::size_t i = 0; i < x.size(); ++i) back[i] += T(0.3) * y[i];
  CHECK(largest_error(back, numbers<double>(x.begin(), x.end())) < tolerance<T>);
  kron::state_space_solve(k, d.data(), w.data(), x.data(), y.data(), left, right, kron::state_space_part::sqrt);
  kron::state_space_solve(k, d.data(), w.data(), y.data(), back.data(), left, right, kron::state_space_part::lower);
  for (std::size_t i = 0; i < x.size(); ++i) back[i] /= std::sqrt(d[i / right % n]);
  CHECK(largest_error(back, numbers<double>(x.begin(), x.end())) < tolerance<T>);
}

TEST_CASE("kron: the same bits on one thread and on several") {
  const std::size_t n = 24;
  const numbers<double> a = scrambled<double>(n * n, 1), x = scrambled<double>(n * n * n * n, 2);
  const kron::matrix<double> f{a.data(), n, n, n, 1};
  const std::vector<kron::matrix<double>> factors{f, f, f, f};
  const int before = telamon::get_num_threads();
  numbers<double> one(x.size()), three(x.size());
  telamon::set_num_threads(1);
  kron::matmul(factors, x.data(), one.data());
  telamon::set_num_threads(3);
  kron::matmul(factors, x.data(), three.data());
  telamon::set_num_threads(before);
  CHECK(one == three);
}

TEST_CASE("kron: errors name what came and what is wanted") {
  const numbers<double> a(6);
  numbers<double> x(6), y(6);
  const std::vector<kron::matrix<double>> rectangular{{a.data(), 2, 3, 3, 1}}, no_identity{{nullptr, 2, 3}};
  CHECK_THROWS_WITH_AS(kron::matmul(rectangular, x.data(), x.data()),
                       "kron.matmul: out is x, and a factor is not square; pass another out", std::invalid_argument);
  CHECK_THROWS_AS(kron::matmul(no_identity, x.data(), y.data()), std::invalid_argument);
  const numbers<double> bad(4, std::numeric_limits<double>::quiet_NaN());
  CHECK_THROWS_AS(kron::eigh(2, bad.data(), y.data(), x.data()), std::invalid_argument);
  kron::state_space<double> k;
  k.points = 1, k.states = 9;
  CHECK_THROWS_AS(kron::state_space_matmul(k, x.data(), y.data(), 1, 1), std::invalid_argument);
}
