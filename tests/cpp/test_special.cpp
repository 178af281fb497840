// The array API of telamon/special.hpp against the header-only scalar templates, spot values and errors. Accuracy over
// the plane is tests/python/test_special_accuracy.py's business.
#include <doctest/doctest.h>
#include <telamon/core/isa.hpp>
#include <telamon/special.hpp>
#include <telamon/special/bessel.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace special = telamon::special;
namespace scalar = telamon::special::scalar;

constexpr std::size_t count = 1111;  // more than two blocks, and not a multiple of a vector

template <class T>
struct sample {
  std::vector<T> v, x, out;
  sample() : v(count), x(count), out(count, T(-1)) {
    for (std::size_t i = 0; i < count; ++i) {  // every regime: radius 10^-3..10^4, angles all around
      const double w = std::pow(10.0, -3 + 7.0 * double(i) / count), angle = double((i * 37) % 100) / 99 * 1.5707;
      v[i] = T(w * std::sin(angle)), x[i] = T(w * std::cos(angle));
    }
  }
};

// |a - b| <= tolerance of the larger of |b| and scale. The compiled versions may contract a*b+c where this file's
// compiler does not, so equality to the bit is not asked for across the two.
template <class T>
void check_close(T a, T b, double scale, double ulps) {
  CHECK(std::fabs(double(a) - double(b)) <=
        ulps * double(std::numeric_limits<T>::epsilon()) * std::max(std::fabs(double(b)), scale));
}

template <class T>
using array_function = void (*)(telamon::span<const T>, telamon::span<const T>, telamon::span<T>);

// Catches a name bound to another function's kernel, blocks that are scattered wrongly, and a lost tail.
template <class T>
void check_against_scalar(const char* name, array_function<T> array, T (*one)(T, T) noexcept, bool logarithm) {
  CAPTURE(name);
  sample<T> s;
  if (std::string(name) == "iv_ratioinv")
    for (std::size_t i = 0; i < count; ++i) s.v[i] += T(0.5), s.x[i] = T(i + 1) / T(count + 2);
  array(s.v, s.x, s.out);
  for (std::size_t i = 0; i < count; ++i) {
    CAPTURE(s.v[i]);
    CAPTURE(s.x[i]);
    // a logarithm may be off by 2 eps w on either side, the others by 45 eps (1e-14)
    check_close(s.out[i], one(s.v[i], s.x[i]), logarithm ? std::hypot(double(s.v[i]), double(s.x[i])) : 0,
                logarithm ? 4 : (sizeof(T) == 4 ? 16 : 90));
  }
}

template <class T>
void check_all() {
#define TELAMON_SPECIAL_BINARY(name)                               \
  check_against_scalar<T>(#name, &special::name, &scalar::name<T>, \
                          std::string(#name).find("log") == 0 && std::string(#name).find("_d") == std::string::npos);
#include <telamon/special/functions.inc>
#undef TELAMON_SPECIAL_BINARY
}

struct restore_isa {
  std::string before{telamon::isa_name(telamon::active_isa())};
  ~restore_isa() { telamon::set_isa(before); }
};

}  // namespace

TEST_CASE("arrays agree with the scalar templates, in every instruction set") {
  const restore_isa restore;
  for (telamon::isa which : telamon::available_isas()) {
    telamon::set_isa(telamon::isa_name(which));
    check_all<double>();
    check_all<float>();
  }
}

TEST_CASE("closed forms at order one half") {
  const double pi = 3.14159265358979323846;
  for (double x : {1e-3, 0.5, 2.0, 30.0, 700.0, 1e6}) {
    check_close(scalar::log_kv(0.5, x), 0.5 * std::log(pi / (2 * x)) - x, x, 4);
    check_close(scalar::log_ive(0.5, x), -0.5 * std::log(2 * pi * x) + std::log(-std::expm1(-2 * x)), x, 4);
    check_close(scalar::iv_ratio(0.5, x), std::tanh(x), 0, 45);
    check_close(scalar::iv_ratioinv(0.5, 0.5), std::atanh(0.5), 0, 8);
    check_close(scalar::kv_ratio(0.5, x), 1.0, 0, 45);
  }
}

TEST_CASE("edges") {
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(scalar::log_iv(0.0, 0.0) == 0.0);
  CHECK(scalar::log_iv(2.0, 0.0) == -inf);
  CHECK(scalar::log_kv(2.0, 0.0) == inf);
  CHECK(std::isnan(scalar::log_kv(2.0, -1.0)));
  CHECK(scalar::log_kv(-2.25, 3.0) == scalar::log_kv(2.25, 3.0));
  CHECK(std::isfinite(scalar::log_iv(1e300, 1e-300)));
}

TEST_CASE("the gradient's pass returns what the single functions do, through strides") {
  sample<double> s;
  std::vector<double> all(3 * count), single(count);
  const auto column = [&](std::size_t k) { return telamon::strided<double>(all.data() + k, 3 * sizeof(double)); };
  const telamon::strided<const double> v(s.v.data(), sizeof(double)), x(s.x.data(), sizeof(double));
  special::log_kv_grad(v, x, column(0), column(1), column(2), count);
  const std::array<array_function<double>, 3> singles{&special::log_kv, &special::log_kv_dv, &special::log_kv_dx};
  for (std::size_t k = 0; k < 3; ++k) {
    singles[k](s.v, s.x, single);
    for (std::size_t i = 0; i < count; ++i)
      check_close(all[3 * i + k], single[i], k == 0 ? std::hypot(s.v[i], s.x[i]) : 0, k == 0 ? 4 : 90);
  }
}

TEST_CASE("an output may be one of the inputs") {
  sample<double> s;
  special::log_iv(s.v, s.x, s.out);
  special::log_iv(s.v, s.x, s.x);
  CHECK(s.out == s.x);
}

TEST_CASE("spans of unequal length are refused, with the lengths") {
  std::vector<double> three(3, 1.0), four(4, 1.0);
  CHECK_THROWS_AS(special::log_iv(three, four, three), std::invalid_argument);
  CHECK_THROWS_AS(special::log_iv(three, three, four), std::invalid_argument);
  try {
    special::log_iv(three, four, three);
  } catch (const std::invalid_argument& error) {
    CHECK(std::string(error.what()).find('4') != std::string::npos);
  }
  std::vector<double> none;
  special::log_iv(none, none, none);  // nothing to do is not an error
}
