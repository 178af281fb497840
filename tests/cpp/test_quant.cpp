// The array API of telamon/quant.hpp: brute force on small rows, packing, products and errors.
#include <doctest/doctest.h>
#include <telamon/core/isa.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/quant.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace {

namespace quant = telamon::quant;

// Numbers between -1 and 1 with no pattern.
std::vector<float> scrambled(std::size_t n, double seed) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = float(std::sin(seed + 12.9898 * double(i * i % 1009)));
  return x;
}

// H = X'X of some tokens.
std::vector<double> hessian(std::size_t n, std::size_t tokens) {
  const std::vector<float> x = scrambled(n * tokens, 0.5);
  std::vector<double> h(n * n);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t i = 0; i < n * n; ++i) h[i] += double(x[t * n + i / n]) * double(x[t * n + i % n]);
  }
  return h;
}

double objective(const float* w, const std::vector<double>& h, const float* c, const std::uint8_t* q, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) sum += (c[q[i]] - double(w[i])) * h[i * n + j] * (c[q[j]] - double(w[j]));
  }
  return sum;
}

}  // namespace

TEST_CASE("quant: the nearest entry, the lower of two") {
  const float c[] = {-1, 0, 1, 4}, w[] = {-5, -0.5f, 0.4f, 0.6f, 2.5f, 2.6f, 9};
  std::uint8_t q[7];
  quant::nearest(1, 7, 4, w, c, q);
  const std::uint8_t want[] = {0, 0, 1, 2, 2, 3, 3};
  CHECK(std::equal(q, q + 7, want));
}

TEST_CASE("quant: k-means finds clusters, whatever their weights") {
  const std::vector<float> w{5, 1, 1.25f, 9, 5.5f, 0.75f, 9, 5.25f};
  std::vector<float> c(4);
  std::vector<std::uint8_t> q(8);
  quant::kmeans(1, 8, 4, w.data(), nullptr, c.data(), q.data());
  CHECK(std::is_sorted(c.begin(), c.end()));
  CHECK(c[q[3]] == 9);
  const double importance[] = {1, 0, 0, 0, 0, 0, 0, 0};
  quant::kmeans(1, 8, 4, w.data(), importance, c.data(), q.data());
  CHECK(c[q[0]] == 5);
}

TEST_CASE("quant: LNQ never rises, and ends where no single change of a code helps") {
  const std::size_t n = 24, rows = 11, levels = 4;
  const std::vector<float> w = scrambled(rows * n, 2);
  for (std::size_t tokens : {10, 100}) {  // fewer than inputs: H is singular
    const std::vector<double> h = hessian(n, tokens);
    std::vector<float> c(rows * levels);
    std::vector<std::uint8_t> q(rows * n);
    quant::kmeans(rows, n, levels, w.data(), nullptr, c.data(), q.data());
    quant::lnq_options options;
    options.iterations = 3, options.cycles = 30, options.half_codebooks = false;
    std::vector<double> trace(std::size_t(quant::lnq_steps(options))), each(rows);
    double start = 0;
    for (std::size_t r = 0; r < rows; ++r) start += objective(&w[r * n], h, &c[r * levels], &q[r * n], n);
    quant::lnq(rows, n, levels, w.data(), h.data(), c.data(), q.data(), options, trace.data(), each.data());
    CHECK(trace.front() == doctest::Approx(start).epsilon(1e-9));
    CHECK(std::is_sorted(trace.rbegin(), trace.rend()));
    CHECK(trace.back() < trace.front());
    for (std::size_t r = 0; r < rows; ++r) {
      const double reached = objective(&w[r * n], h, &c[r * levels], &q[r * n], n);
      CHECK(each[r] == doctest::Approx(reached).epsilon(1e-9));
      for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::uint8_t> other(&q[r * n], &q[r * n] + n);
        for (std::size_t a = 0; a < levels; ++a) {
          other[i] = std::uint8_t(a);
          // codebooks are rounded to float at the end, after the descent
          CHECK(objective(&w[r * n], h, &c[r * levels], other.data(), n) >= reached * (1 - 1e-5));
        }
      }
    }
  }
}

TEST_CASE("quant: codebooks rounded to float16 are such numbers") {
  const std::size_t n = 16, rows = 3, levels = 8;
  const std::vector<float> w = scrambled(rows * n, 3);
  const std::vector<double> h = hessian(n, 40);
  std::vector<float> c(rows * levels);
  std::vector<std::uint8_t> q(rows * n);
  quant::kmeans(rows, n, levels, w.data(), nullptr, c.data(), q.data());
  const quant::lnq_options options;
  std::vector<double> trace(std::size_t(quant::lnq_steps(options))), each(rows);
  quant::lnq(rows, n, levels, w.data(), h.data(), c.data(), q.data(), options, trace.data(), each.data());
  for (float v : c) CHECK(v == float(std::ldexp(std::nearbyint(std::ldexp(v, 24)), -24)));  // steps of at least 2^-24
  for (float v : c)
    CHECK(std::ldexp(v, 11 - std::ilogb(v) - 1) == std::nearbyint(std::ldexp(v, 11 - std::ilogb(v) - 1)));
}

TEST_CASE("quant: packing and unpacking, for all bits and tails") {
  for (int bits = 1; bits <= 8; ++bits) {
    for (std::size_t n : {1, 63, 64, 65, 200}) {
      std::vector<std::uint8_t> q(3 * n), packed(3 * quant::row_bytes(n, bits), 255), back(q.size());
      for (std::size_t i = 0; i < q.size(); ++i) q[i] = std::uint8_t((i * i + 7 * i) % 251 % (1u << bits));
      quant::pack(3, n, bits, q.data(), packed.data());
      quant::unpack(3, n, bits, packed.data(), back.data());
      CHECK(q == back);
    }
  }
}

TEST_CASE("quant: products, for all bits, groups, batches and instruction sets") {
  const std::size_t rows = 7;
  for (telamon::isa which : telamon::available_isas()) {
    telamon::set_isa(telamon::isa_name(which));
    for (int bits = 1; bits <= 8; ++bits) {
      const std::size_t levels = std::size_t(1) << bits;
      for (std::size_t n : {40, 200}) {
        for (std::size_t group : {0, 64, 24}) {
          const std::size_t groups = group == 0 ? 1 : (n + group - 1) / group;
          const std::vector<float> books = scrambled(rows * groups * levels, 4);
          std::vector<std::uint8_t> q(rows * n), packed(rows * quant::row_bytes(n, bits));
          for (std::size_t i = 0; i < q.size(); ++i) q[i] = std::uint8_t((i * i + 7 * i) % 251 % levels);
          quant::pack(rows, n, bits, q.data(), packed.data());
          const quant::packed_matrix w{rows, n, bits, packed.data(), books.data(), group};
          std::vector<float> numbers(rows * n);
          quant::dequantize(w, numbers.data());
          for (std::size_t i = 0; i < numbers.size(); ++i) {
            const std::size_t g = group == 0 ? 0 : i % n / group;
            CHECK(numbers[i] == books[(i / n * groups + g) * levels + q[i]]);
          }
          for (std::size_t batch : {1, 3, 40}) {
            const std::vector<float> x = scrambled(batch * n, 5);
            for (auto how : {quant::precision::exact, quant::precision::fast}) {
              std::vector<float> y(batch * rows);
              quant::matmul(w, x.data(), batch, y.data(), how);
              double error = 0;
              for (std::size_t i = 0; i < y.size(); ++i) {
                double want = 0;
                for (std::size_t k = 0; k < n; ++k)
                  want += double(x[i / rows * n + k]) * double(numbers[i % rows * n + k]);
                error = std::max(error, std::abs(double(y[i]) - want));
              }
              // exact: sums of n terms below 1; fast: the bound of the header, with |x|, |w| below 1
              CHECK(error < (how == quant::precision::exact ? 1e-7 * double(n) : 2 * double(n) / 16384));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("quant: a nan of x is in every output") {
  std::vector<float> x(64, 1), c{0, 1, 2, 3}, y(1);
  x[3] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::uint8_t> packed(quant::row_bytes(64, 2));
  const quant::packed_matrix w{1, 64, 2, packed.data(), c.data(), 0};
  for (auto how : {quant::precision::exact, quant::precision::fast}) {
    quant::matmul(w, x.data(), 1, y.data(), how);
    CHECK(std::isnan(y[0]));
  }
}

TEST_CASE_TEMPLATE("quant: the Walsh-Hadamard transform by its definition, and twice", T, float, double) {
  for (std::size_t n : {1, 2, 4, 8, 32, 8192}) {
    std::vector<T> x(2 * n);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = T(std::sin(double(i * i % 1009)));
    std::vector<T> y = x;
    quant::fwht(y.data(), 2, n);
    if (n <= 32) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        double want = 0;
        for (std::size_t j = 0; j < n; ++j) {
          std::size_t both = i % n & j;
          int sign = 1;
          for (; both; both &= both - 1) sign = -sign;
          want += sign * double(x[i / n * n + j]);
        }
        CHECK(double(y[i]) == doctest::Approx(want).epsilon(1e-4));
      }
    }
    quant::fwht(y.data(), 2, n, T(1) / T(n));
    double error = 0;
    for (std::size_t i = 0; i < x.size(); ++i) error = std::max(error, std::abs(double(x[i] - y[i])));
    CHECK(error < 20 * double(std::numeric_limits<T>::epsilon()));
  }
}

TEST_CASE("quant: the same bits on one thread and on several") {
  const std::size_t n = 64, rows = 40, levels = 8;
  const std::vector<float> w = scrambled(rows * n, 3);
  const std::vector<double> h = hessian(n, 80);
  const int before = telamon::get_num_threads();
  std::vector<std::vector<float>> books;
  for (int threads : {1, 3}) {
    telamon::set_num_threads(threads);
    std::vector<float> c(rows * levels);
    std::vector<std::uint8_t> q(rows * n);
    quant::kmeans(rows, n, levels, w.data(), nullptr, c.data(), q.data());
    const quant::lnq_options options;
    std::vector<double> trace(std::size_t(quant::lnq_steps(options))), each(rows);
    quant::lnq(rows, n, levels, w.data(), h.data(), c.data(), q.data(), options, trace.data(), each.data());
    books.push_back(c);
  }
  telamon::set_num_threads(before);
  CHECK(books[0] == books[1]);
}

TEST_CASE("quant: errors name what came and what is wanted") {
  std::vector<float> w(4), c(300);
  std::vector<double> x(6);
  std::vector<std::uint8_t> q(4);
  CHECK_THROWS_WITH_AS(quant::nearest(1, 4, 300, w.data(), c.data(), q.data()),
                       "quant.nearest: there are 300 levels; pass 2 to 256", std::invalid_argument);
  CHECK_THROWS_WITH_AS(quant::pack(1, 4, 9, q.data(), q.data()), "quant.pack: bits is 9; pass 1 to 8",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(quant::fwht(x.data(), 1, 6), "quant.fwht: n is 6; pass a power of 2", std::invalid_argument);
}
