// Products of functions on the sphere: every method and kind, powers, convolutions and harmonics.
//
// Names are function/variant/type/L; factors and result have degrees 0..L. The counter per_element is real time a
// sample and channel (for harmonics, a vector). 128 samples x 32 channels unless L says otherwise. One thread, unless
// TELAMON_NUM_THREADS says otherwise. For a comparison run
//   bench_so3 --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
#include <benchmark/benchmark.h>
#include <telamon/telamon.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

namespace so3 = telamon::so3;

constexpr std::size_t channels = 32;

template <class T>
std::vector<T> normal(std::size_t n, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> draw;
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(draw(engine));
  return values;
}

// (samples, components, channels) of normal numbers, contiguous.
template <class T>
struct array {
  std::size_t samples;
  int lmax;
  std::vector<T> values;

  array(std::size_t samples_, int lmax_, unsigned seed)
      : samples(samples_),
        lmax(lmax_),
        values(normal<T>(samples * static_cast<std::size_t>(so3::components(lmax)) * channels, seed)) {}

  so3::features<T> view() {
    constexpr auto step = static_cast<std::ptrdiff_t>(channels);
    return {values.data(), so3::components(lmax) * step, step, 1};
  }
};

template <class F>
void measure(benchmark::State& state, std::size_t elements, F f) {
  for (auto _ : state) {
    f();
    benchmark::ClobberMemory();
  }
  using counter = benchmark::Counter;
  state.counters["per_element"] =
      counter(static_cast<double>(elements), counter::kIsIterationInvariantRate | counter::kInvert);
}

template <class F>
void add(const std::string& name, int l, F f) {
  benchmark::RegisterBenchmark((name + "/" + std::to_string(l)).c_str(), [f, l](benchmark::State& state) {
    f(state, l);
  })->UseRealTime();  // the pool's threads would not count in CPU time
}

std::size_t samples_at(int l) { return l <= 12 ? 128 : 8; }

template <class T>
void product(benchmark::State& state, int l, so3::kind which, so3::method how) {
  const std::size_t samples = samples_at(l);
  array<T> x(samples, l, 1), y(samples, l, 2), out(samples, l, 3), odd(samples, l, 4);
  so3::product_options<T> options;
  options.which = which;
  options.how = how;
  const so3::features<T> second = which == so3::kind::complete ? odd.view() : so3::features<T>();
  measure(state, samples * channels, [&] {
    so3::gaunt_product(l, l, l, so3::features<const T>(x.view()), so3::features<const T>(y.view()), out.view(), second,
                       samples, channels, options);
  });
}

template <class T>
void power(benchmark::State& state, int l, int n) {
  const std::size_t samples = samples_at(l);
  array<T> x(samples, l, 1), out(samples, l, 2);
  const std::vector<so3::factor<T>> factors{{l, n, x.view()}};
  measure(state, samples * channels, [&] {
    so3::gaunt_monomial(telamon::span<const so3::factor<T>>(factors), l, out.view(), false, samples, channels);
  });
}

// 100 nodes, 1600 edges in random order, summed.
template <class T>
void convolution(benchmark::State& state, int l) {
  constexpr std::size_t nodes = 100, edges = 1600;
  array<T> x(nodes, l, 1), out(nodes, l, 2);
  std::vector<T> directions = normal<T>(3 * edges, 3);
  for (std::size_t e = 0; e < edges; ++e) {
    T* r = &directions[3 * e];
    const T length = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
    for (int i = 0; i < 3; ++i) r[i] /= length;
  }
  const auto degrees = static_cast<std::size_t>(l) + 1;
  std::vector<T> weights = normal<T>(edges * degrees * channels, 4);
  std::vector<std::int64_t> senders(edges), receivers(edges);
  std::mt19937_64 engine(5);
  std::uniform_int_distribution<std::int64_t> draw(0, nodes - 1);
  for (std::size_t e = 0; e < edges; ++e) senders[e] = draw(engine), receivers[e] = draw(engine);

  so3::edge_list<T> list;
  list.edges = edges;
  list.outputs = nodes;
  list.senders = senders.data();
  list.receivers = receivers.data();
  list.directions = {directions.data(), 3, 1};
  constexpr auto step = static_cast<std::ptrdiff_t>(channels);
  list.weights = {weights.data(), static_cast<std::ptrdiff_t>(degrees) * step, step, 1};
  measure(state, edges * channels,
          [&] { so3::gaunt_conv(l, l, l, so3::features<const T>(x.view()), list, out.view(), channels); });
}

template <class T>
void harmonics(benchmark::State& state, int l) {
  constexpr std::size_t n = 4096;
  const std::vector<T> r = normal<T>(3 * n, 1);
  const auto components = static_cast<std::size_t>(so3::components(l));
  std::vector<T> out(n * components);
  const so3::vectors<T> view{out.data(), static_cast<std::ptrdiff_t>(components), 1};
  measure(state, n, [&] { so3::spherical_harmonics(l, so3::vectors<const T>{r.data(), 3, 1}, view, n); });
}

template <class T>
void register_type(const std::string& type) {
  using so3::kind;
  using so3::method;
  constexpr auto run = &product<T>;
  struct variant {
    const char* name;
    kind which;
    method how;
    int most;  // degree
  };
  const variant variants[] = {{"auto", kind::even, method::automatic, 64},
                              {"sparse", kind::even, method::sparse, 8},
                              {"grid", kind::even, method::grid, 32},
                              {"fourier", kind::even, method::fourier, 32},
                              {"complete", kind::complete, method::automatic, 12}};
  for (const variant& v : variants) {
    for (int l : {1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64}) {
      if (l > v.most) continue;
      add("product/" + std::string(v.name) + "/" + type, l,
          [v](benchmark::State& state, int degree) { run(state, degree, v.which, v.how); });
    }
  }
  for (int l : {1, 2, 4, 8}) {
    add("power/3/" + type, l, [](benchmark::State& state, int degree) { power<T>(state, degree, 3); });
    add("convolution/1600_edges/" + type, l, [](benchmark::State& s, int degree) { convolution<T>(s, degree); });
  }
  for (int l : {2, 4, 8, 16, 32}) {
    add("harmonics/4096_vectors/" + type, l, [](benchmark::State& s, int degree) { harmonics<T>(s, degree); });
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
