// telamon::quant, the compiled array API: weights of a linear layer as codes and codebooks of few bits, and products
// with them.
//
// Rows are output channels. Row j of the weights w (rows, inputs) is stored as codes q (inputs) and a codebook c
// (levels), 2^bits of them, ascending: what = c[q]. The layer's objective is sum_j e_j' H e_j with e = what - w and
// H = X'X of calibration inputs X (tokens, inputs), symmetric and positive semi-definite, in double.
#pragma once

#include <telamon/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace telamon::quant {

// Codes of the nearest entries of each row's codebook (rows, levels), ascending; of two equally near the lower.
TELAMON_API void nearest(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights,
                         const float* codebooks, std::uint8_t* codes);

// Codebooks and codes by k-means in one dimension (Lloyd's algorithm from quantiles), each row on its own. importance
// (inputs), or null for equal weights; entries that are 0 do not matter.
TELAMON_API void kmeans(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights,
                        const double* importance, float* codebooks, std::uint8_t* codes);

// GPTQ's greedy assignment to given codebooks. u (inputs, inputs) is the upper triangular factor of the inverse of H in
// the order of processing, H^-1 = u' u; order[p] is the input that comes as number p.
TELAMON_API void gptq(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* u,
                      const std::int64_t* order, const float* codebooks, std::uint8_t* codes);

struct lnq_options {
  int iterations = 2;          // codebooks and then codes, so many times
  int cycles = 4;              // of coordinate descent over the codes in each
  bool half_codebooks = true;  // round codebooks to float16 at the end, and descend once more
};

// The steps that lnq records: the start, and after it iterations times (the codebook, then each cycle).
constexpr int lnq_steps(const lnq_options& options) noexcept { return 1 + options.iterations * (1 + options.cycles); }

// LNQ (arXiv:2505.07004): alternates the optimal codebook for fixed codes, (P'HP) c = P'Hw, with cyclic coordinate
// descent over the codes for the fixed codebook. Starts from the given codebooks and codes. No step raises a row's
// objective: a codebook is taken and a code changed only where it falls. trace (lnq_steps) receives the sum of the
// rows' objectives after each step, objectives (rows) those of the result. Inputs with H_ii = 0 keep their codes.
TELAMON_API void lnq(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* h,
                     float* codebooks, std::uint8_t* codes, const lnq_options& options, double* trace,
                     double* objectives);

// The rows' objectives e' H e.
TELAMON_API void objective(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights,
                           const double* h, const float* codebooks, const std::uint8_t* codes, double* objectives);

// ---- packed matrices

// Bits of codes lie in tiles of 64 inputs, 8 bits bytes each, of a row; what is missing in the last tile is 0. A tile
// of 8 bits holds one byte an input. Fewer bits are made of parts, the lowest bits first: 4 bits in 32 bytes, byte j
// for the inputs j and 32 + j; 2 bits in 16 bytes, byte j for j, 16 + j, 32 + j and 48 + j; 1 bit in 8 bytes, byte j
// for j, 8 + j, ..., 56 + j. Always the first input in the lowest bits.
inline constexpr std::size_t tile_inputs = 64;
constexpr std::size_t row_bytes(std::size_t inputs, int bits) noexcept {
  return (inputs + tile_inputs - 1) / tile_inputs * 8 * std::size_t(bits);
}

// codes (rows, inputs), below 2^bits, to packed (rows, row_bytes) and back. bits from 1 to 8.
TELAMON_API void pack(std::size_t rows, std::size_t inputs, int bits, const std::uint8_t* codes, std::uint8_t* packed);
TELAMON_API void unpack(std::size_t rows, std::size_t inputs, int bits, const std::uint8_t* packed,
                        std::uint8_t* codes);

// A matrix (rows, inputs) that someone else owns. Each row has a codebook of 2^bits numbers for every `group` inputs:
// codebooks (rows, groups, 2^bits), groups = ceil(inputs / group). group = 0: one for the whole row.
struct packed_matrix {
  std::size_t rows = 0, inputs = 0;
  int bits = 4;
  const std::uint8_t* codes = nullptr;
  const float* codebooks = nullptr;
  std::size_t group = 0;
};

// out (rows, inputs), the numbers themselves.
TELAMON_API void dequantize(const packed_matrix& w, float* out);

// How a product is computed.
//   exact  the numbers of the codebooks times x, in float
//   fast   codebooks and, in blocks of 64, x rounded to 14 bits and a sign: |error| <= 2^-14 times the sum over blocks
//   of
//          max|x| sum|w| + max|c| sum|x|, about 6e-5 of the result's norm as a rule. Up to 4 bits and groups of whole
//          tiles, with AVX2; others are exact.
enum class precision : int { exact, fast };

// out (batch, rows) = x (batch, inputs) w'. From 32 rows of x on, by blocks of the matrix and BLAS.
TELAMON_API void matmul(const packed_matrix& w, const float* x, std::size_t batch, float* out,
                        precision how = precision::exact);

// The Walsh-Hadamard transform of each row of x (rows, 2^k), in place, times `scale`: x H with H_ij = (-1)^popcount(i &
// j). n log2 n additions a row.
TELAMON_API void fwht(float* x, std::size_t rows, std::size_t n, float scale = 1);
TELAMON_API void fwht(double* x, std::size_t rows, std::size_t n, double scale = 1);

}  // namespace telamon::quant
