// Spherical harmonics of many vectors: blocks of samples side by side, in double for either type of array, since single
// precision would lose a digit at high degrees and the stores cost as much as the arithmetic.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/so3.hpp>
#include <telamon/so3/harmonics.hpp>

#include "multiversion.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

namespace telamon::so3 {
namespace {

constexpr int lanes = 16;

// The factors of the recurrences, [triangular(l, m)].
struct harmonic_table {
  int lmax;
  std::vector<double> step, norm;
};

std::shared_ptr<const harmonic_table> make_harmonic_table(int lmax) {
  auto table = std::make_shared<harmonic_table>();
  table->lmax = lmax;
  for (int l = 0; l <= lmax; ++l)
    for (int m = 0; m <= l; ++m) {
      table->step.push_back(detail::harmonic_step(l, m));
      table->norm.push_back(double(std::sqrt(detail::harmonic_norm_squared<long double>(l, m))));
    }
  return table;
}

// One table serves all smaller degrees too; it is made anew when a larger one is wanted.
std::shared_ptr<const harmonic_table> get_harmonic_table(int lmax) {
  static std::mutex mutex;
  static std::shared_ptr<const harmonic_table> largest;
  const std::lock_guard lock(mutex);
  if (!largest || largest->lmax < lmax) largest = make_harmonic_table(std::max(lmax, 8));
  return largest;
}

// out[i * sample + k * component] = from[k * lanes + i] for the first n samples, in tiles of four where all are there.
template <class T>
TELAMON_INLINE void store(const T* from, T* out, std::ptrdiff_t sample, std::ptrdiff_t component, int count,
                          std::ptrdiff_t n) {
  int start = 0;
#if defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 12)
  if (n == lanes && component == 1) {
    typedef T four __attribute__((vector_size(4 * sizeof(T))));  // GCC ignores the attribute in a using
    for (; start + 4 <= count; start += 4)
      for (int i = 0; i < lanes; i += 4) {
        four a, b, c, d;
        const T* const tile = from + start * lanes + i;
        std::memcpy(&a, tile, sizeof a), std::memcpy(&b, tile + lanes, sizeof b);
        std::memcpy(&c, tile + 2 * lanes, sizeof c), std::memcpy(&d, tile + 3 * lanes, sizeof d);
        const four ab0 = __builtin_shufflevector(a, b, 0, 4, 2, 6), ab1 = __builtin_shufflevector(a, b, 1, 5, 3, 7);
        const four cd0 = __builtin_shufflevector(c, d, 0, 4, 2, 6), cd1 = __builtin_shufflevector(c, d, 1, 5, 3, 7);
        a = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5), b = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
        c = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7), d = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
        T* const to = out + i * sample + start;
        std::memcpy(to, &a, sizeof a), std::memcpy(to + sample, &b, sizeof b);
        std::memcpy(to + 2 * sample, &c, sizeof c), std::memcpy(to + 3 * sample, &d, sizeof d);
      }
  }
#endif
  for (std::ptrdiff_t i = 0; i < n; ++i)
    for (std::ptrdiff_t k = start; k < count; ++k) out[i * sample + k * component] = from[k * lanes + i];
}

// What a thread needs for its blocks: for each m two Q, D, and both parts of the power (z + ix)^m; components that
// wait, lanes side by side, until there are enough of them to be stored.
template <class T>
struct work_space {
  static constexpr int enough = 64;

  explicit work_space(int lmax)
      : recurrence(5 * lanes * std::size_t(lmax + 1)), waiting(lanes * std::size_t(2 * lmax + 1 + enough)) {}
  std::vector<double> recurrence;
  std::vector<T> waiting;
};

// The harmonics of `lanes` vectors: all x, then all y and z; those of vector i < n go to out + i * sample.
template <class A, bool Unit, class T>
TELAMON_INLINE void harmonics_of_block(int lmax, const harmonic_table& table, const double* r, work_space<T>& space,
                                       T* out, std::ptrdiff_t sample, std::ptrdiff_t component, std::ptrdiff_t n) {
  alignas(64) double x[lanes], y[lanes], z[lanes], rho2[lanes];
  alignas(64) double inverse[lanes], inverse_lo[lanes], power[lanes], power_lo[lanes], factor[lanes];
  TELAMON_SIMD
  for (int i = 0; i < lanes; ++i) {
    detail::scaled_vector<double> u{r[i], r[lanes + i], r[2 * lanes + i], {1, 0}};
    if constexpr (Unit) u = detail::harmonic_scale<A>(u.x, u.y, u.z);
    x[i] = u.x, y[i] = u.y, z[i] = u.z;
    inverse[i] = u.inverse.hi, inverse_lo[i] = u.inverse.lo;
    power[i] = factor[i] = 1, power_lo[i] = 0;
    rho2[i] = num::mad<A>(u.x, u.x, u.z * u.z);
  }
  const std::ptrdiff_t stretch = lanes * std::ptrdiff_t(lmax + 1);
  double* const start = space.recurrence.data();
  double* const d = start + 2 * stretch;
  double* const re = start + 3 * stretch;
  double* const im = start + 4 * stretch;
  const double *step = table.step.data(), *norm = table.norm.data();
  int first = 0, waiting = 0;  // the component that waits first, and how many wait
  for (int l = 0; l <= lmax; ++l, step += l, norm += l) {
    double* const q_l = start + (l % 2) * stretch;
    double* const q_before = start + ((l + 1) % 2) * stretch;
    T* const zero = space.waiting.data() + (waiting + l) * lanes;  // where m = 0 belongs
    if constexpr (Unit) {
      if (l > 0) {
        TELAMON_SIMD
        for (int i = 0; i < lanes; ++i) {
          const num::dd<double> p =
              detail::harmonic_shrink<A, double>({power[i], power_lo[i]}, {inverse[i], inverse_lo[i]});
          power[i] = p.hi, power_lo[i] = p.lo, factor[i] = p.hi + p.lo;
        }
      }
    }
    for (int m = 0; m < l; ++m) {
      const std::ptrdiff_t at = std::ptrdiff_t(m) * lanes;
      const double step_m = step[m], norm_m = norm[m];
      TELAMON_SIMD
      for (int i = 0; i < lanes; ++i) {
        const double next =
            detail::harmonic_advance<A>(step_m, y[i], rho2[i], q_before[at + i], q_l[at + i], d[at + i]);
        q_l[at + i] = next;
        const double value = Unit ? norm_m * factor[i] * next : norm_m * next;
        zero[i - at] = T(value * im[at + i]);  // at m = 0 overwritten at once
        zero[i + at] = T(value * re[at + i]);
      }
    }
    const std::ptrdiff_t at = std::ptrdiff_t(l) * lanes;  // m = l begins
    const double norm_l = norm[l];
    TELAMON_SIMD
    for (int i = 0; i < lanes; ++i) {
      double c = 1, s = 0;
      if (l > 0) {
        c = re[at - lanes + i], s = im[at - lanes + i];
        detail::harmonic_turn<A>(z[i], x[i], c, s);
      }
      re[at + i] = c, im[at + i] = s;
      q_l[at + i] = 1, q_before[at + i] = 0, d[at + i] = 0;
      const double value = Unit ? norm_l * factor[i] : norm_l;
      zero[i - at] = T(value * s);
      zero[i + at] = T(value * c);
    }
    waiting += 2 * l + 1;
    if (waiting >= work_space<T>::enough || l == lmax) {
      store(space.waiting.data(), out + first * component, sample, component, waiting, n);
      first += waiting, waiting = 0;
    }
  }
}

TELAMON_MULTIVERSION_TEMPLATE(block, (class T, bool Unit),
                              (int lmax, const harmonic_table& table, const double* r, work_space<T>& space, T* out,
                               std::ptrdiff_t sample, std::ptrdiff_t component, std::ptrdiff_t n),
                              { harmonics_of_block<arch, Unit>(lmax, table, r, space, out, sample, component, n); })

// Below this many components a second thread costs more than it saves.
constexpr std::size_t grain = 16384;

template <bool Unit, class T>
void harmonics(const char* name, int lmax, vectors<const T> r, vectors<T> out, std::size_t samples) {
  require(lmax >= 0, "so3.", name, ": lmax is ", lmax, "; it must be at least 0");
  const auto table = get_harmonic_table(lmax);
  const std::size_t blocks = (samples + lanes - 1) / lanes, size = std::size_t(components(lmax)) * lanes;
  parallel_for(blocks, std::max<std::size_t>(1, grain / size), [&](std::size_t begin, std::size_t end) {
    work_space<T> space(lmax);
    for (std::size_t b = begin; b < end; ++b) {
      const auto start = std::ptrdiff_t(b * lanes),
                 n = std::min<std::ptrdiff_t>(lanes, std::ptrdiff_t(samples) - start);
      alignas(64) double xyz[3 * lanes] = {};
      for (std::ptrdiff_t i = 0; i < n; ++i)
        for (int axis = 0; axis < 3; ++axis)
          xyz[axis * lanes + i] = double(r.data[(start + i) * r.sample + axis * r.component]);
      block<T, Unit>::run(lmax, *table, xyz, space, out.data + start * out.sample, out.sample, out.component, n);
    }
  });
}

}  // namespace

void solid_harmonics(int lmax, vectors<const float> r, vectors<float> out, std::size_t samples) {
  harmonics<false>("solid_harmonics", lmax, r, out, samples);
}
void solid_harmonics(int lmax, vectors<const double> r, vectors<double> out, std::size_t samples) {
  harmonics<false>("solid_harmonics", lmax, r, out, samples);
}
void spherical_harmonics(int lmax, vectors<const float> r, vectors<float> out, std::size_t samples) {
  harmonics<true>("spherical_harmonics", lmax, r, out, samples);
}
void spherical_harmonics(int lmax, vectors<const double> r, vectors<double> out, std::size_t samples) {
  harmonics<true>("spherical_harmonics", lmax, r, out, samples);
}

}  // namespace telamon::so3
