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
  // [[2, 1], [1, 2]] (x) [3] has the eigenvalues 3 and 9; through BLAS, which comes along.
  const std::vector<double> a{2, 1, 1, 2}, b{3};
  std::vector<double> w(2), q(4), z(2);
  telamon::kron::eigh(2, a.data(), w.data(), q.data());
  const std::vector<telamon::kron::matrix<double>> factors{{a.data(), 2, 2, 2, 1}, {b.data(), 1, 1, 1, 1}};
  const std::vector<double> ones{1, 1};
  telamon::kron::matmul(factors, ones.data(), z.data());
  if (!(std::abs(w[0] - 1) < 1e-14 && std::abs(w[1] - 3) < 1e-14 && z[0] == 9 && z[1] == 9)) {
    std::printf("eigenvalues %.17g, %.17g, not 1 and 3; products %.17g, %.17g, not 9\n", w[0], w[1], z[0], z[1]);
    return 1;
  }
  std::printf("telamon %s, %s, %d threads\n", TELAMON_VERSION, telamon::isa_name(telamon::active_isa()).data(),
              telamon::get_num_threads());
  return 0;
}
