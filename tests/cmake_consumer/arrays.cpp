#include <telamon/telamon.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  const std::vector<double> v(100000, 1.0), x(v.size(), 1.0);
  std::vector<double> y(v.size());
  telamon::special::log_iv(v, x, y);

  const double want = std::log(0.5651591039924850);  // I_1(1), DLMF 10.25.2
  for (double got : y) {
    if (!(std::abs(got - want) < 1e-14)) {
      std::printf("log_iv(1, 1) = %.17g, not %.17g\n", got, want);
      return 1;
    }
  }

  // The mean over the sphere of (x . Y_1)^2 is x . x.
  const std::vector<double> x1{0, 1, 2, 2};
  double mean = 0;
  telamon::so3::gaunt_product(1, 1, 0, {x1.data(), 4, 1, 1}, {x1.data(), 4, 1, 1}, {&mean, 1, 1, 1}, {}, 1, 1);
  if (!(std::abs(mean - 9) < 1e-14)) {
    std::printf("the mean of (Y_1 . (1, 2, 2))^2 = %.17g, not 9\n", mean);
    return 1;
  }
  std::printf("telamon %s, %s, %d threads\n", TELAMON_VERSION, telamon::isa_name(telamon::active_isa()).data(),
              telamon::get_num_threads());
  return 0;
}
