// The array API of telamon/so3.hpp: closed forms, the same answer from every method, strides and errors. Accuracy is
// tests/python/test_so3_*.py's business.
#include <doctest/doctest.h>
#include <telamon/core/isa.hpp>
#include <telamon/so3.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "so3_checks.hpp"

namespace {

namespace so3 = telamon::so3;

constexpr std::size_t samples = 3, channels = 9;  // not a multiple of a vector
constexpr double pi = 3.14159265358979323846;

// (samples, components, channels), contiguous.
template <class T>
struct block {
  int lmax;
  std::vector<T> data;
  explicit block(int l, T value = T(-1)) : lmax(l), data(samples * std::size_t(so3::components(l)) * channels, value) {}
  T& operator()(std::size_t s, int k, std::size_t c) {
    return data[(s * std::size_t(so3::components(lmax)) + std::size_t(k)) * channels + c];
  }
  so3::features<T> view() { return {data.data(), std::ptrdiff_t(so3::components(lmax) * channels), channels, 1}; }
};

// Numbers between -1 and 1 with no pattern that a product could share.
template <class T>
block<T> scrambled(int lmax, double seed) {
  block<T> x(lmax);
  for (std::size_t i = 0; i < x.data.size(); ++i) x.data[i] = T(std::sin(seed + 12.9898 * double(i * i % 1009)));
  return x;
}

template <class T>
block<T> product(block<T>& x, block<T>& y, int lmax, so3::method how = so3::method::automatic,
                 so3::kind which = so3::kind::even) {
  block<T> out(lmax);
  so3::product_options<T> options;
  options.how = how, options.which = which;
  so3::gaunt_product(x.lmax, y.lmax, lmax, x.view(), y.view(), out.view(), {}, samples, channels, options);
  return out;
}

struct restore_isa {
  std::string before{telamon::isa_name(telamon::active_isa())};
  ~restore_isa() { telamon::set_isa(before); }
};

}  // namespace

TEST_CASE_TEMPLATE("linear functions: a.r b.r has mean a.b/3, and the bracket (a x b).r", T, float, double) {
  auto x = scrambled<T>(1, 1), y = scrambled<T>(1, 2);
  for (std::size_t s = 0; s < samples; ++s)
    for (std::size_t c = 0; c < channels; ++c) x(s, 0, c) = y(s, 0, c) = 0;
  block<T> even(1), odd(1), want_even(1, 0), want_odd(1, 0);
  so3::product_options<T> options;
  options.which = so3::kind::complete;
  so3::gaunt_product(1, 1, 1, x.view(), y.view(), even.view(), odd.view(), samples, channels, options);
  for (std::size_t s = 0; s < samples; ++s) {
    for (std::size_t c = 0; c < channels; ++c) {
      for (int i = 0; i < 3; ++i) {  // Y_1 = sqrt 3 r
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        want_even(s, 0, c) += x(s, 1 + i, c) * y(s, 1 + i, c);
        want_odd(s, 1 + i, c) = T(std::sqrt(3.0)) * (x(s, 1 + j, c) * y(s, 1 + k, c) - x(s, 1 + k, c) * y(s, 1 + j, c));
      }
    }
  }
  check_close(even.data, want_even.data);
  check_close(odd.data, want_odd.data);
}

TEST_CASE_TEMPLATE("every method and instruction set gives the same product", T, float, double) {
  const restore_isa restore;
  for (int lmax : {1, 2, 3, 4, 6}) {
    auto x = scrambled<T>(lmax, 3), y = scrambled<T>(lmax, 4);
    for (so3::kind which : {so3::kind::even, so3::kind::odd, so3::kind::sum}) {
      telamon::set_isa("baseline");
      const auto want = product(x, y, lmax, so3::method::sparse, which);
      for (telamon::isa isa : telamon::available_isas()) {
        telamon::set_isa(telamon::isa_name(isa));
        for (so3::method how : {so3::method::automatic, so3::method::sparse, so3::method::grid, so3::method::fourier}) {
          if (how == so3::method::fourier && which != so3::kind::even) continue;  // it has no odd paths
          CAPTURE(lmax);
          CAPTURE(int(isa));
          CAPTURE(int(how));
          CAPTURE(int(which));
          check_close(product(x, y, lmax, how, which).data, want.data);
        }
      }
    }
  }
}

TEST_CASE("coefficients: Y_00 Y_lm, and none where the triangle or the parity forbids") {
  const auto unit = so3::coefficients(0, 2, 2);
  REQUIRE(unit.size() == 5);
  for (const auto& c : unit) {
    CHECK(c.i == 0);
    CHECK(c.j == c.k);
    CHECK(c.value == doctest::Approx(1).epsilon(1e-15));
  }
  CHECK(so3::coefficients(1, 1, 1).empty());
  CHECK(so3::coefficients(1, 1, 3).empty());
  CHECK(so3::coefficients(1, 1, 1, so3::kind::odd).size() == 6);  // the cross product
  CHECK(so3::coefficients(1, 1, 2, so3::kind::odd).empty());
}

TEST_CASE_TEMPLATE("a monomial is the product of its factors", T, float, double) {
  auto x = scrambled<T>(2, 5), y = scrambled<T>(3, 6);
  auto squared = product(x, x, 4);
  const auto want = product(squared, y, 4);
  block<T> out(4);
  const std::array<so3::factor<T>, 2> factors{{{2, 2, x.view()}, {3, 1, y.view()}}};
  so3::gaunt_monomial(telamon::span<const so3::factor<T>>(factors.data(), 2), 4, out.view(), false, samples, channels);
  check_close(out.data, want.data);
}

TEST_CASE_TEMPLATE("weights and accumulation", T, float, double) {
  auto x = scrambled<T>(3, 7), y = scrambled<T>(3, 8);
  auto want = product(x, y, 3);
  const std::array<T, 4> weights{2, -1, T(0.5), 4};  // by degree; powers of two but for the sign, so exact
  block<T> out(3, 1);
  so3::product_options<T> options;
  options.accumulate = true;
  options.out = {weights.data(), 1, 0};
  so3::gaunt_product(3, 3, 3, x.view(), y.view(), out.view(), {}, samples, channels, options);
  for (std::size_t s = 0; s < samples; ++s)
    for (int k = 0; k < 16; ++k)
      for (std::size_t c = 0; c < channels; ++c)
        want(s, k, c) = 1 + weights[std::size_t(std::floor(std::sqrt(double(k))))] * want(s, k, c);
  check_close(out.data, want.data);
}

TEST_CASE_TEMPLATE("a convolution along the polar axis multiplies by zonal harmonics", T, float, double) {
  auto x = scrambled<T>(2, 9);
  block<T> zonal(2, 0), out(2);
  const std::array<T, 3> pole{0, 1, 0};
  std::vector<T> weights(3 * channels);
  for (std::size_t l = 0; l < 3; ++l) {
    for (std::size_t c = 0; c < channels; ++c) {
      weights[l * channels + c] = T(double(l + 1) / double(c + 1));
      // Y_l0 at the pole is sqrt(2l + 1)
      for (std::size_t s = 0; s < samples; ++s)
        zonal(s, int(l * l + l), c) = weights[l * channels + c] * T(std::sqrt(2.0 * double(l) + 1));
    }
  }
  so3::edge_list<T> edges;
  edges.edges = edges.outputs = samples;
  edges.directions = {pole.data(), 0, 1};
  edges.weights = {weights.data(), 0, channels, 1};
  so3::gaunt_conv(2, 2, 2, x.view(), edges, out.view(), channels);
  check_close(out.data, product(x, zonal, 2).data);
}

TEST_CASE_TEMPLATE("harmonics of one direction", T, float, double) {
  const std::array<T, 3> r{2, 3, 6};  // of length 7
  std::array<T, 9> solid{}, unit{};
  so3::solid_harmonics(2, {r.data(), 3, 1}, {solid.data(), 9, 1}, 1);
  so3::spherical_harmonics(2, {r.data(), 3, 1}, {unit.data(), 9, 1}, 1);
  const double s3 = std::sqrt(3.0), s5 = std::sqrt(5.0), s15 = std::sqrt(15.0);
  // by hand: 1; sqrt 3 (x, y, z); sqrt 15 (xz, xy, (2y^2 - x^2 - z^2)/sqrt 12, yz, (z^2 - x^2)/2)
  const std::array<double, 9> want{1,        s3 * 2,         s3 * 3,   s3 * 6,        s15 * 12,
                                   s15 * 6., s5 / 2 * (-22), s15 * 18, s15 / 2 * 32.0};
  for (int k = 0; k < 9; ++k) {
    CAPTURE(k);
    const int l = k < 1 ? 0 : k < 4 ? 1 : 2;
    const double eps = 8 * double(std::numeric_limits<T>::epsilon());  // a few roundings
    CHECK(double(solid[std::size_t(k)]) == doctest::Approx(want[std::size_t(k)]).epsilon(eps));
    CHECK(double(unit[std::size_t(k)]) == doctest::Approx(want[std::size_t(k)] / std::pow(7.0, l)).epsilon(eps));
  }
}

TEST_CASE_TEMPLATE("rotating features is rotating the function", T, float, double) {
  const double angle = pi / 5, c = std::cos(angle), s = std::sin(angle);
  const std::array<double, 9> turn{c, 0, s, 0, 1, 0, -s, 0, c};  // about y by +angle: phi = atan2(x, z) grows by it
  std::vector<T> rotations;
  for (std::size_t i = 0; i < samples; ++i)
    for (double entry : turn) rotations.push_back(T(entry));
  auto x = scrambled<T>(3, 10);
  block<T> there(3), back(3);
  so3::rotate(3, rotations.data(), false, x.view(), there.view(), samples, channels);
  so3::rotate(3, rotations.data(), true, there.view(), back.view(), samples, channels);
  check_close(back.data, x.data);
  block<T> want = x;
  for (int l = 1; l <= 3; ++l) {
    for (int m = 1; m <= l; ++m) {  // f(phi - angle): cos m phi -> cos m angle cos m phi + sin m angle sin m phi
      const double cm = std::cos(m * angle), sm = std::sin(m * angle);
      for (std::size_t i = 0; i < samples; ++i) {
        for (std::size_t k = 0; k < channels; ++k) {
          const double a = double(x(i, l * l + l + m, k)), b = double(x(i, l * l + l - m, k));
          want(i, l * l + l + m, k) = T(cm * a - sm * b);
          want(i, l * l + l - m, k) = T(sm * a + cm * b);
        }
      }
    }
  }
  check_close(there.data, want.data);
}

TEST_CASE("strides: channels first, reversed, repeated") {
  auto x = scrambled<double>(3, 11), y = scrambled<double>(3, 12);
  const auto want = product(x, y, 3);
  std::vector<double> turned(x.data.size()), out(x.data.size());
  for (std::size_t s = 0; s < samples; ++s)
    for (int k = 0; k < 16; ++k)
      for (std::size_t c = 0; c < channels; ++c)
        turned[(s * channels + c) * 16 + std::size_t(15 - k)] = x(s, k, c);  // channels first, components reversed
  const std::ptrdiff_t sample = 16 * channels;
  so3::gaunt_product(3, 3, 3, {turned.data() + 15, sample, -1, 16}, y.view(), {out.data(), sample, 1, 16}, {}, samples,
                     channels);
  for (std::size_t s = 0; s < samples; ++s)
    for (int k = 0; k < 16; ++k)
      for (std::size_t c = 0; c < channels; ++c)
        CHECK(out[(s * channels + c) * 16 + std::size_t(k)] == block<double>(want)(s, k, c));
}

TEST_CASE("bad degrees are refused") {
  auto x = scrambled<double>(1, 13), y = scrambled<double>(1, 14);
  block<double> out(3);
  CHECK_THROWS_AS(so3::gaunt_product(1, 1, 3, x.view(), y.view(), out.view(), {}, samples, channels),
                  std::invalid_argument);
  CHECK_THROWS_AS(so3::gaunt_product(-1, 1, 0, x.view(), y.view(), out.view(), {}, samples, channels),
                  std::invalid_argument);
  CHECK_THROWS_AS(product(x, y, 1, so3::method::fourier, so3::kind::odd), std::invalid_argument);
}
