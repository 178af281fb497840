// log I_v(x) and log K_v(x): telamon's array API and scalar templates, libstdc++, and Boost.Math and GSL where found.
//
// Names are function/implementation/set; v and x are uniform in A = [0,150]^2, S = [0,20]^2, B = [0,10^4]^2. The
// counter per_element is real time an element. One thread, unless TELAMON_NUM_THREADS says otherwise. For a
// comparison run
//   bench_special --benchmark_enable_random_interleaving=true --benchmark_repetitions=9
#include <benchmark/benchmark.h>
#include <telamon/special/bessel.hpp>
#include <telamon/telamon.hpp>

#include <cstddef>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

extern "C" {  // python/telamon/_bench/peers_special.cpp
const char* telamon_bench_boost_version();
const char* telamon_bench_gsl_version();
const char* telamon_bench_libstdcxx_version();
}

namespace {

// A peer that its source left out has no symbol; a weak reference is then null.
using peer_function = void(const double*, const double*, double*, std::size_t);
extern "C" {
[[gnu::weak]] peer_function telamon_bench_boost_log_iv, telamon_bench_boost_log_kv;
[[gnu::weak]] peer_function telamon_bench_gsl_log_iv, telamon_bench_gsl_log_kv;
[[gnu::weak]] peer_function telamon_bench_libstdcxx_log_iv, telamon_bench_libstdcxx_log_kv;
}

struct set {
  const char* name;
  double high;
};
constexpr set sets[] = {{"A", 150}, {"S", 20}, {"B", 1e4}};

// The same points for every implementation: slow ones take the first of them.
template <class T>
std::vector<T> uniform(std::size_t n, double high, unsigned seed) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> draw(0, high);
  std::vector<T> values(n);
  for (T& value : values) value = static_cast<T>(draw(engine));
  return values;
}

// f(v, x, out) on n points of a set.
template <class T, class F>
void measure(benchmark::State& state, F f, std::size_t n, double high) {
  const std::vector<T> v = uniform<T>(n, high, 1), x = uniform<T>(n, high, 2);
  std::vector<T> out(n);
  for (auto _ : state) {
    f(v, x, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  using counter = benchmark::Counter;
  state.counters["per_element"] =
      counter(static_cast<double>(n), counter::kIsIterationInvariantRate | counter::kInvert);
}

template <class T, class F>
void add(const std::string& name, F f, std::size_t n) {
  for (const set& s : sets) {
    benchmark::RegisterBenchmark((name + "/" + s.name).c_str(), [f, n, high = s.high](benchmark::State& state) {
      measure<T>(state, f, n, high);
    })->UseRealTime();  // the pool's threads would not count in CPU time
  }
}

void add_peer(const std::string& name, peer_function* f) {
  if (!f) return;
  const auto call = [f](const std::vector<double>& v, const std::vector<double>& x, std::vector<double>& out) {
    f(v.data(), x.data(), out.data(), out.size());
  };
  add<double>(name, call, 2048);  // up to 25 us an element
}

template <class T, class F>
void add_arrays(const std::string& name, F f) {
  using telamon::span;
  const auto call = [f](const std::vector<T>& v, const std::vector<T>& x, std::vector<T>& out) {
    f(span<const T>(v), span<const T>(x), span<T>(out));
  };
  add<T>(name, call, 1 << 16);
}

// The scalar template in a plain loop: what a user of the headers alone gets.
template <class F>
void add_scalar(const std::string& name, F f) {
  const auto call = [f](const std::vector<double>& v, const std::vector<double>& x, std::vector<double>& out) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = f(v[i], x[i]);
  };
  add<double>(name, call, 1 << 14);
}

void register_all() {
  namespace ts = telamon::special;
  const auto iv = [](auto v, auto x, auto out) { ts::log_iv(v, x, out); };
  const auto kv = [](auto v, auto x, auto out) { ts::log_kv(v, x, out); };
  add_arrays<double>("log_iv/telamon", iv);
  add_arrays<double>("log_kv/telamon", kv);
  add_arrays<float>("log_iv/telamon_f32", iv);
  add_arrays<float>("log_kv/telamon_f32", kv);
  add_scalar("log_iv/telamon_scalar", [](double v, double x) { return ts::scalar::log_iv(v, x); });
  add_scalar("log_kv/telamon_scalar", [](double v, double x) { return ts::scalar::log_kv(v, x); });
  add_peer("log_iv/libstdc++", telamon_bench_libstdcxx_log_iv);
  add_peer("log_kv/libstdc++", telamon_bench_libstdcxx_log_kv);
  add_peer("log_iv/boost", telamon_bench_boost_log_iv);
  add_peer("log_kv/boost", telamon_bench_boost_log_kv);
  add_peer("log_iv/gsl", telamon_bench_gsl_log_iv);
  add_peer("log_kv/gsl", telamon_bench_gsl_log_kv);
}

std::string or_none(const char* version) { return version ? version : "none"; }

}  // namespace

int main(int argc, char** argv) {
  if (!std::getenv("TELAMON_NUM_THREADS")) telamon::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("telamon", std::string(TELAMON_VERSION));
  benchmark::AddCustomContext("isa", std::string(telamon::isa_name(telamon::active_isa())));
  benchmark::AddCustomContext("threads", std::to_string(telamon::get_num_threads()));
  benchmark::AddCustomContext("libstdc++", or_none(telamon_bench_libstdcxx_version()));
  benchmark::AddCustomContext("boost", or_none(telamon_bench_boost_version()));
  benchmark::AddCustomContext("gsl", or_none(telamon_bench_gsl_version()));
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
