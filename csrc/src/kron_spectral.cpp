// One pass over the spectrum of K + noise I.
//
// The last axes together make a row of eigenvalues t, the others the numbers p of the rows: lambda = p t. A row's
// logarithms are one logarithm of a product, kept in range by its exponents. Sums are taken in blocks whose size does
// not depend on the number of threads, and added in order. Cost: one division an eigenvalue, and b read and written.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/kron.hpp>

#include "multiversion.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace telamon::kron {
namespace {

constexpr std::size_t row_size = 512;            // the last axes are taken together until a row is as long
constexpr std::size_t most_blocks = 64;          // each block has sums of a row of its own
constexpr std::size_t block_elements = 1 << 14;  // and at least so many elements

constexpr int lanes = 8;

// sum of log(x_j), by the product of the mantissas and the sum of the exponents.
TELAMON_INLINE double sum_of_logs(const double* x, std::size_t n) {
  constexpr std::uint64_t mantissa = (std::uint64_t(1) << 52) - 1, one = std::uint64_t(1023) << 52;
  double total = 0;
  std::int64_t exponents = 0;
  bool usual = true;
  for (std::size_t first = 0; first < n; first += 512 * lanes) {  // 512 mantissas below 2 make at most 2^512
    const std::size_t last = std::min(n, first + 512 * lanes);
    double product[lanes];
    std::int64_t exponent[lanes] = {};
    std::fill_n(product, lanes, 1.0);
    std::size_t j = first;
    for (; j + lanes <= last; j += lanes) {
      TELAMON_SIMD
      for (int i = 0; i < lanes; ++i) {
        const std::uint64_t bits = num::to_bits(x[j + std::size_t(i)]);
        product[i] *= num::from_bits<double>((bits & mantissa) | one);
        exponent[i] += std::int64_t(bits >> 52);
      }
    }
    for (int i = 0; j < last; ++i, ++j) {
      const std::uint64_t bits = num::to_bits(x[j]);
      product[i] *= num::from_bits<double>((bits & mantissa) | one);
      exponent[i] += std::int64_t(bits >> 52);
    }
    for (int i = 0; i < lanes; ++i) total += std::log(product[i]), exponents += exponent[i];
  }
  // Zero, negative, subnormal, infinite and nan arguments have other rules.
  for (std::size_t j = 0; j < n; ++j) {
    usual = usual && x[j] >= std::numeric_limits<double>::min() && x[j] <= std::numeric_limits<double>::max();
  }
  if (usual) return total + double(exponents - 1023 * std::int64_t(n)) * 0.69314718055994530942;
  total = 0;
  for (std::size_t j = 0; j < n; ++j) total += std::log(x[j]);
  return total;
}

struct row_sums {
  double logdet, trace, own;  // own: sum of t/(lambda + noise)
};

// inverse = 1/(p t + noise), and the sums; u += p inverse. memory: n numbers.
TELAMON_MULTIVERSION(spectrum_row,
                     (const double* t, std::size_t n, double p, double noise, double* inverse, double* u,
                      double* memory, row_sums* sums),
                     {
                       TELAMON_SIMD
                       for (std::size_t j = 0; j < n; ++j) {
                         memory[j] = p * t[j] + noise;
                         inverse[j] = 1 / memory[j];
                         u[j] += p * inverse[j];
                       }
                       double trace[lanes] = {};
                       double own[lanes] = {};
                       std::size_t j = 0;
                       for (; j + lanes <= n; j += lanes) {
                         TELAMON_SIMD
                         for (int i = 0; i < lanes; ++i) {
                           trace[i] += inverse[j + std::size_t(i)];
                           own[i] += t[j + std::size_t(i)] * inverse[j + std::size_t(i)];
                         }
                       }
                       for (int i = 0; j < n; ++i, ++j) trace[i] += inverse[j], own[i] += t[j] * inverse[j];
                       for (int i = 1; i < lanes; ++i) trace[0] += trace[i], own[0] += own[i];
                       *sums = {sum_of_logs(memory, n), trace[0], own[0]};
                     })

// out = b inverse for a row of n times `columns` numbers; returns the sum of b^2 inverse in *quadratic.
TELAMON_MULTIVERSION_TEMPLATE(apply_row, (class T),
                              (const T* b, const double* inverse, T* out, std::size_t n, std::size_t columns,
                               double* quadratic),
                              {
                                double sum[lanes] = {};
                                std::size_t j = 0;
                                if (columns == 1) {
                                  for (; j + lanes <= n; j += lanes) {
                                    T result[lanes];
                                    TELAMON_SIMD
                                    for (int i = 0; i < lanes; ++i) {
                                      const double value = double(b[j + std::size_t(i)]);
                                      const double scaled = value * inverse[j + std::size_t(i)];
                                      sum[i] += value * scaled;
                                      result[i] = T(scaled);
                                    }
                                    if (out) {
                                      TELAMON_SIMD
                                      for (int i = 0; i < lanes; ++i) out[j + std::size_t(i)] = result[i];
                                    }
                                  }
                                }
                                for (; j < n; ++j) {
                                  double squares = 0;
                                  for (std::size_t c = 0; c < columns; ++c) {
                                    const double value = double(b[j * columns + c]);
                                    const double scaled = value * inverse[j];
                                    squares += value * scaled;
                                    if (out) out[j * columns + c] = T(scaled);
                                  }
                                  sum[0] += squares;
                                }
                                for (int i = 1; i < lanes; ++i) sum[0] += sum[i];
                                *quadratic = sum[0];
                              })

// The outer product of the axes [first, last), but for `without`.
template <class T>
std::vector<double> outer(span<const span<const T>> values, std::size_t first, std::size_t last,
                          std::size_t without = std::size_t(-1)) {
  std::vector<double> product{1.0};
  for (std::size_t i = first; i < last; ++i) {
    std::vector<double> next;
    next.reserve(product.size() * values[i].size());
    for (double p : product) {
      for (T v : values[i]) next.push_back(i == without ? p : p * double(v));
    }
    product.swap(next);
  }
  return product;
}

// weights[i][k] = sum over the entries with index i = k of (product of the others') times share, for axes [first,
// last).
template <class T>
void share_out(span<const span<const T>> values, std::size_t first, std::size_t last, const std::vector<double>& share,
               span<double* const> weights) {
  std::size_t right = share.size();
  for (std::size_t i = first; i < last; ++i) {
    const std::size_t n = values[i].size();
    const std::vector<double> others = outer(values, first, last, i);
    right /= n;
    std::fill_n(weights[i], n, 0.0);
    for (std::size_t j = 0; j < share.size(); ++j) weights[i][j / right % n] += others[j] * share[j];
  }
}

template <class T>
spectral_sums any_spectral(span<const span<const T>> values, double noise, const T* b, T* out,
                           span<double* const> weights, std::size_t batch, std::size_t columns) {
  require(weights.empty() || weights.size() == values.size(), "kron.spectral: there are ", weights.size(),
          " weights and ", values.size(), " axes; pass one an axis, or none");
  require(b != nullptr || out == nullptr, "kron.spectral: out is given, b is not; pass b too");
  std::size_t split = values.size(), n = 1, rows = 1;  // [split, d) make a row
  while (split > 0 && n < row_size) n *= values[--split].size();
  for (std::size_t i = 0; i < split; ++i) rows *= values[i].size();
  spectral_sums result;
  if (n * rows == 0) {
    for (std::size_t i = 0; i < weights.size(); ++i) std::fill_n(weights[i], values[i].size(), 0.0);
    return result;
  }
  const std::vector<double> t = outer(values, split, values.size()), p = outer(values, 0, split);
  const std::size_t width = std::max<std::size_t>(1, n * batch * columns);  // an empty batch has sums, too
  const std::size_t per_block =
      std::max({std::size_t(1), (rows + most_blocks - 1) / most_blocks, block_elements / width});
  const std::size_t blocks = (rows + per_block - 1) / per_block;
  std::vector<double> own(rows), u(blocks * n);
  std::vector<spectral_sums> sums(blocks);

  parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> inverse(n), memory(n);
    for (std::size_t block = begin; block < end; ++block) {
      for (std::size_t row = block * per_block; row < std::min(rows, (block + 1) * per_block); ++row) {
        row_sums r;
        spectrum_row(t.data(), n, p[row], noise, inverse.data(), u.data() + block * n, memory.data(), &r);
        own[row] = r.own, sums[block].logdet += r.logdet, sums[block].trace += r.trace;
        for (std::size_t i = 0; b != nullptr && i < batch; ++i) {
          const std::size_t at = (i * rows + row) * n * columns;
          double quadratic;
          apply_row<T>::run(b + at, inverse.data(), out ? out + at : nullptr, n, columns, &quadratic);
          sums[block].quadratic += quadratic;
        }
      }
    }
  });
  for (const spectral_sums& s : sums) {
    result.quadratic += s.quadratic, result.logdet += s.logdet, result.trace += s.trace;
  }
  if (!weights.empty()) {
    for (std::size_t block = 1; block < blocks; ++block) {
      for (std::size_t j = 0; j < n; ++j) u[j] += u[block * n + j];
    }
    u.resize(n);
    share_out(values, 0, split, own, weights);
    share_out(values, split, values.size(), u, weights);
  }
  return result;
}

}  // namespace

spectral_sums spectral(span<const span<const float>> eigenvalues, double noise, const float* b, float* out,
                       span<double* const> weights, std::size_t batch, std::size_t columns) {
  return any_spectral(eigenvalues, noise, b, out, weights, batch, columns);
}
spectral_sums spectral(span<const span<const double>> eigenvalues, double noise, const double* b, double* out,
                       span<double* const> weights, std::size_t batch, std::size_t columns) {
  return any_spectral(eigenvalues, noise, b, out, weights, batch, columns);
}

}  // namespace telamon::kron
