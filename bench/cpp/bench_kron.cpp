// Kronecker algebra: products on grids and along one axis, Gram matrices, the pass over the spectrum, eigenvectors, and
// state space.
//
// Names are function/variant/type/size. Counters: GFLOPS where operations are matrix products', per_element elsewhere,
// real time for an entry of the grid. Memory is a megabyte or eight, a million numbers, unless sizes say otherwise.
// One thread, unless TELAMON_NUM_THREADS says otherwise. For a comparison run
//   bench_kron --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
#include <benchmark/benchmark.h>
#include <telamon/telamon.hpp>

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <vector>

namespace {

namespace kron = telamon::kron;

template <class T>
std::vector<T> normal(std::size_t n, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> draw;
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(draw(engine));
  return values;
}

// A covariance on a uniform axis, Matern-3/2 with a fifth of the axis as length scale: its first column.
template <class T>
std::vector<T> covariance(std::size_t n) {
  std::vector<T> column(n);
  for (std::size_t i = 0; i < n; ++i) {
    const double a = std::sqrt(3.0) * static_cast<double>(i) / static_cast<double>(n) / 0.2;
    column[i] = static_cast<T>((1 + a) * std::exp(-a));
  }
  return column;
}

using shape = std::vector<std::size_t>;

std::size_t product(const shape& s) {
  return std::accumulate(s.begin(), s.end(), std::size_t{1}, [](std::size_t a, std::size_t b) { return a * b; });
}

std::string text(const shape& s) {
  std::string result;
  for (std::size_t n : s) result += (result.empty() ? "" : "x") + std::to_string(n);
  return result;
}

// per_element or, if flops is not zero, GFLOPS.
template <class F>
void measure(benchmark::State& state, std::size_t elements, double flops, F f) {
  for (auto _ : state) {
    f();
    benchmark::ClobberMemory();
  }
  using counter = benchmark::Counter;
  if (flops > 0) {
    state.counters["GFLOPS"] = counter(flops / 1e9, counter::kIsIterationInvariantRate);
  } else {
    state.counters["per_element"] =
        counter(static_cast<double>(elements), counter::kIsIterationInvariantRate | counter::kInvert);
  }
}

template <class F>
void add(const std::string& name, F f) {
  benchmark::RegisterBenchmark(name.c_str(), f)->UseRealTime();  // the pool's threads would not count in CPU time
}

// Factors of rows x columns, and views of them.
template <class T>
struct random_factors {
  std::vector<std::vector<T>> values;
  std::vector<kron::matrix<T>> views;

  void push(std::size_t rows, std::size_t columns) {
    values.push_back(normal<T>(rows * columns, static_cast<unsigned>(values.size())));
    views.push_back({values.back().data(), rows, columns, static_cast<std::ptrdiff_t>(columns), 1});
  }
  telamon::span<const kron::matrix<T>> view() const { return {views.data(), views.size()}; }
};

template <class T>
void matmul(benchmark::State& state, const shape& grid, std::size_t batch, std::size_t columns) {
  random_factors<T> factors;
  for (std::size_t n : grid) factors.push(n, n);
  const std::size_t elements = batch * product(grid) * columns;
  const std::vector<T> x = normal<T>(elements, 99);
  std::vector<T> out(elements);
  const double sum = static_cast<double>(std::accumulate(grid.begin(), grid.end(), std::size_t{0}));
  measure(state, elements, 2 * static_cast<double>(elements) * sum,
          [&] { kron::matmul(factors.view(), x.data(), out.data(), batch, columns); });
}

// n^3 -> 2n x n/4 x n: per_element is of the input, since what it costs depends on the order.
template <class T>
void rectangular(benchmark::State& state, std::size_t n) {
  random_factors<T> factors;
  factors.push(2 * n, n);
  factors.push(n / 4, n);
  factors.push(n, n);
  const std::vector<T> x = normal<T>(n * n * n, 99);
  std::vector<T> out(2 * n * (n / 4) * n);
  measure(state, x.size(), 0, [&] { kron::matmul(factors.view(), x.data(), out.data()); });
}

template <class T>
void gram(benchmark::State& state, const shape& grid, std::size_t axis) {
  const std::size_t elements = product(grid), n = grid[axis];
  const std::vector<T> x = normal<T>(elements, 1);
  std::vector<std::vector<T>> scales;
  std::vector<const T*> pointers;
  for (std::size_t m : grid) scales.push_back(covariance<T>(m));
  for (const std::vector<T>& s : scales) pointers.push_back(s.data());
  std::vector<T> out(n * n);
  measure(state, elements, 2 * static_cast<double>(elements * n), [&] {
    kron::gram(telamon::span<const std::size_t>(grid), axis, x.data(), static_cast<const T*>(nullptr), n,
               telamon::span<const T* const>(pointers.data(), pointers.size()), out.data());
  });
}

// The solve's pass alone, and with the sums along each axis that a gradient needs.
template <class T>
void spectral(benchmark::State& state, const shape& grid, bool weights) {
  const std::size_t elements = product(grid);
  std::vector<std::vector<T>> values;
  std::vector<telamon::span<const T>> views;
  std::vector<std::vector<double>> sums;
  std::vector<double*> pointers;
  for (std::size_t n : grid) values.push_back(covariance<T>(n)), sums.emplace_back(n);
  for (const std::vector<T>& v : values) views.emplace_back(v.data(), v.size());
  for (std::vector<double>& s : sums) pointers.push_back(s.data());
  const std::vector<T> b = normal<T>(elements, 1);
  std::vector<T> out(elements);
  measure(state, elements, 0, [&] {
    benchmark::DoNotOptimize(
        kron::spectral(telamon::span<const telamon::span<const T>>(views.data(), views.size()), 0.1, b.data(),
                       out.data(), telamon::span<double* const>(pointers.data(), weights ? pointers.size() : 0)));
  });
}

template <class T>
void eigenvectors(benchmark::State& state, std::size_t n, bool toeplitz) {
  const std::vector<T> column = covariance<T>(n);
  std::vector<T> a(n * n), w(n), q(n * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) a[i * n + j] = column[i > j ? i - j : j - i];
  }
  measure(state, n * n, 0, [&] {
    if (toeplitz) {
      kron::eigh_toeplitz(n, column.data(), w.data(), q.data());
    } else {
      kron::eigh(n, a.data(), w.data(), q.data());
    }
  });
}

// An Ornstein-Uhlenbeck process (one state) or Matern-3/2 (two) on a uniform axis of n points.
template <class T>
struct process {
  std::vector<T> transitions, covariance, measurement;
  kron::state_space<T> view;

  process(std::size_t n, std::size_t states) : covariance(states * states), measurement(states) {
    const double step = 20.0 / static_cast<double>(n), decay = std::exp(-step);
    const double two[4] = {(1 + step) * decay, step * decay, -step * decay, (1 - step) * decay};
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < states * states; ++j) {
        transitions.push_back(static_cast<T>(states == 1 ? decay : two[j]));
      }
    }
    for (std::size_t j = 0; j < states; ++j) covariance[j * (states + 1)] = 1;
    measurement[0] = 1;
    view.points = n;
    view.states = states;
    view.transitions = transitions.data();
    view.covariance = covariance.data();
    view.measurement = measurement.data();
  }
};

template <class T>
void state_space_matmul(benchmark::State& state, std::size_t n, std::size_t right, std::size_t states) {
  const process<T> p(n, states);
  const std::vector<T> x = normal<T>(n * right, 1);
  std::vector<T> out(n * right);
  measure(state, x.size(), 0, [&] { kron::state_space_matmul(p.view, x.data(), out.data(), 1, right); });
}

// Factorisation and one solution: a Kalman filter and smoother.
template <class T>
void state_space_solve(benchmark::State& state, std::size_t n, std::size_t states) {
  const process<T> p(n, states);
  const std::vector<T> x = normal<T>(n, 1), noise(n, T(0.1));
  std::vector<T> out(n), d(n), w(n * states);
  measure(state, n, 0, [&] {
    kron::state_space_factor(p.view, noise.data(), d.data(), w.data());
    kron::state_space_solve(p.view, d.data(), w.data(), x.data(), out.data(), 1, 1);
  });
}

template <class T>
void register_type(const std::string& type) {
  const std::vector<shape> grids = {{1000, 1000}, {100, 100, 100}, {32, 32, 32, 32}, {16, 16, 16, 16, 16}};
  for (const shape& grid : grids) {
    const std::string end = "/" + type + "/" + text(grid);
    add("matmul/grid" + end, [grid](benchmark::State& s) { matmul<T>(s, grid, 1, 1); });
    for (std::size_t axis = 0; axis < grid.size(); axis += grid.size() - 1) {
      add((axis ? "gram/last" : "gram/first") + end, [grid, axis](benchmark::State& s) { gram<T>(s, grid, axis); });
    }
    add("spectral/solve" + end, [grid](benchmark::State& s) { spectral<T>(s, grid, false); });
    add("spectral/weights" + end, [grid](benchmark::State& s) { spectral<T>(s, grid, true); });
  }
  const shape twos(20, 2), cube{32, 32, 32};
  add("matmul/grid/" + type + "/2^20", [twos](benchmark::State& s) { matmul<T>(s, twos, 1, 1); });
  add("matmul/rows/" + type + "/64x32^3", [cube](benchmark::State& s) { matmul<T>(s, cube, 64, 1); });
  add("matmul/columns/" + type + "/32^3x64", [cube](benchmark::State& s) { matmul<T>(s, cube, 1, 64); });
  add("matmul/rectangular/" + type + "/100", [](benchmark::State& s) { rectangular<T>(s, 100); });
  // One axis of (left, n, right), as every grid's product consists of.
  for (std::size_t n : shape{4, 8, 16, 32, 48, 64, 100, 128, 200, 256, 512, 1000}) {
    const std::size_t others = 1000000 / n;
    const std::size_t side = static_cast<std::size_t>(std::sqrt(static_cast<double>(others)));
    const std::string end = "/" + type + "/" + std::to_string(n);
    add("axis/first" + end, [n, others](benchmark::State& s) { matmul<T>(s, {n}, 1, others); });
    add("axis/middle" + end, [n, side](benchmark::State& s) { matmul<T>(s, {n}, side, side); });
    add("axis/last" + end, [n, others](benchmark::State& s) { matmul<T>(s, {n}, others, 1); });
  }
  for (std::size_t n : shape{32, 100, 256, 1000}) {
    const std::string end = "/" + type + "/" + std::to_string(n);
    add("eigh/dense" + end, [n](benchmark::State& s) { eigenvectors<T>(s, n, false); });
    add("eigh/toeplitz" + end, [n](benchmark::State& s) { eigenvectors<T>(s, n, true); });
  }
  for (std::size_t states : shape{1, 2}) {
    const std::string end = "/" + type + "/" + std::to_string(states) + "_states";
    add("state_space/matmul_4096x256" + end,
        [states](benchmark::State& s) { state_space_matmul<T>(s, 4096, 256, states); });
    add("state_space/solve_1000000" + end, [states](benchmark::State& s) { state_space_solve<T>(s, 1000000, states); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (!std::getenv("TELAMON_NUM_THREADS")) telamon::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("telamon", std::string(TELAMON_VERSION));
  benchmark::AddCustomContext("isa", std::string(telamon::isa_name(telamon::active_isa())));
  benchmark::AddCustomContext("threads", std::to_string(telamon::get_num_threads()));
  register_type<float>("float32");
  register_type<double>("float64");
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
