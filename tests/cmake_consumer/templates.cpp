#include <telamon/special/bessel.hpp>

#include <cmath>
#include <cstdio>

int main() {
  const double got = telamon::special::scalar::log_kv(0.5, 2.0);
  const double want = 0.5 * std::log(std::acos(-1.0) / 4.0) - 2.0;  // K_{1/2}(x) = sqrt(pi / (2 x)) e^-x, DLMF 10.39.2
  std::printf("log_kv(1/2, 2) = %.17g\n", got);
  return std::abs(got - want) < 1e-14 ? 0 : 1;
}
