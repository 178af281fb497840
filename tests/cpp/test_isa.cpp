// The choice of instruction set, and the macros that compile one body for each.
#include <doctest/doctest.h>
#include <telamon/core/isa.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "multiversion.hpp"

namespace {

template <class T>
T square_plus(T x, T y) {
  return x * x + y;
}

template <class T>
struct offset {
  T by;
  T operator()(T x) const { return square_plus(x, by); }
};

TELAMON_MULTIVERSION(squares_f64, (const double* x, double* y, std::size_t n), {
  const auto twice = [](double a, double b) { return square_plus(a, b) + square_plus(b, a); };  // a comma, a lambda
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i) y[i] = twice(x[i], 1.0);
})

TELAMON_MULTIVERSION_TEMPLATE(offsets, (class T, class F), (F f, const T* x, T* y, std::size_t n), {
  struct {
    F f;
    T operator()(T a) const { return f(a); }
  } local{f};
  TELAMON_SIMD
  for (std::size_t i = 0; i < n; ++i) y[i] = local(x[i]);
})

struct restore_isa {
  std::string before{telamon::isa_name(telamon::active_isa())};
  ~restore_isa() { telamon::set_isa(before); }
};

template <class T>
void check_offsets() {
  std::vector<T> x(100), y(100, T(-1));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(i);
  offsets<T, offset<T>>::run(offset<T>{T(3)}, x.data(), y.data(), x.size());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == x[i] * x[i] + T(3));
}

}  // namespace

TEST_CASE("the baseline is always available, and the best is last") {
  const std::vector<telamon::isa> all = telamon::available_isas();
  REQUIRE(!all.empty());
  CHECK(all.front() == telamon::isa::baseline);
  CHECK(std::is_sorted(all.begin(), all.end()));
}

TEST_CASE("an unknown instruction set is refused by name, with the alternatives") {
  const restore_isa restore;
  CHECK_THROWS_AS(telamon::set_isa("avx9000"), std::invalid_argument);
  try {
    telamon::set_isa("avx9000");
  } catch (const std::invalid_argument& error) {
    CHECK(std::string(error.what()).find("avx9000") != std::string::npos);
    CHECK(std::string(error.what()).find("baseline") != std::string::npos);
  }
  CHECK(telamon::isa_name(telamon::active_isa()) == restore.before);
}

TEST_CASE("every version of a body computes the same integers") {
  const restore_isa restore;
  for (telamon::isa which : telamon::available_isas()) {
    telamon::set_isa(telamon::isa_name(which));
    CHECK(telamon::active_isa() == which);

    std::vector<double> x(37), y(37);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
    squares_f64(x.data(), y.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(y[i] == x[i] * x[i] + x[i] + 2.0);
    check_offsets<float>();
    check_offsets<double>();
  }
}

#if TELAMON_HAS_AVX2
TEST_CASE("the versions are different functions") {
  const auto& versions = offsets<float, offset<float>>::run.versions;
  const bool distinct = squares_f64.versions[0] != squares_f64.versions[1] && versions[0] != versions[1];
  CHECK(distinct);
}
#endif
