// Products with packed matrices: exactly in float, fast in integers (quant_avx2.cpp), or as blocks for BLAS.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "blas.hpp"
#include "multiversion.hpp"
#include "quant_tiles.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace telamon::quant {
namespace {

using namespace detail;

constexpr std::size_t blas_from = 32;   // rows of x
constexpr std::size_t block_rows = 64;  // of the matrix, as numbers, for BLAS

void check(const packed_matrix& w) {
  require(w.bits >= 1 && w.bits <= 8, "quant.matmul: bits is ", w.bits, "; pass 1 to 8");
}

// A row of numbers. A tile may reach over several groups.
TELAMON_MULTIVERSION(expand_any, (const packed_matrix& w, std::size_t row, float* out), {
  const std::size_t levels = std::size_t(1) << w.bits;
  const std::size_t groups = w.group == 0 ? 1 : (w.inputs + w.group - 1) / w.group;
  const std::uint8_t* p = w.codes + row * row_bytes(w.inputs, w.bits);
  const float* const books = w.codebooks + row * groups * levels;
  std::uint8_t codes[tile_inputs];
  for (std::size_t i = 0; i < w.inputs; i += tile_inputs, p += 8 * w.bits) {
    unpack_tile(w.bits, p, codes);
    const std::size_t count = std::min(tile_inputs, w.inputs - i);
    if (w.group == 0) {
      for (std::size_t j = 0; j < count; ++j) out[i + j] = books[codes[j]];
    } else {
      for (std::size_t j = 0; j < count; ++j) out[i + j] = books[(i + j) / w.group * levels + codes[j]];
    }
  }
})

std::size_t padded(std::size_t inputs) { return (inputs + tile_inputs - 1) / tile_inputs * tile_inputs; }

bool by_avx2(const packed_matrix& w) { return w.group % tile_inputs == 0 && has_avx2_products(); }

// out has room for padded(inputs) numbers.
void expand_row(const packed_matrix& w, std::size_t row, float* out) {
  by_avx2(w) ? expand_row_avx2(w, row, out) : expand_any(w, row, out);
}

TELAMON_MULTIVERSION(dot, (const float* a, const float* b, std::size_t n, float* result), {
  float sum[32] = {};
  std::size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    TELAMON_SIMD
    for (std::size_t k = 0; k < 32; ++k) sum[k] += a[i + k] * b[i + k];
  }
  for (std::size_t k = 0; i < n; ++k, ++i) sum[k] += a[i] * b[i];
  for (std::size_t half = 16; half > 0; half /= 2) {
    for (std::size_t k = 0; k < half; ++k) sum[k] += sum[k + half];
  }
  *result = sum[0];
})

// x in blocks of 64 inputs, each with a scale of its own.
struct rounded_block {
  std::vector<std::int16_t> values;
  std::vector<float> scales;

  rounded_block(const float* x, std::size_t n) : values(padded(n)), scales(values.size() / tile_inputs) {
    for (std::size_t i = 0; i < n; i += tile_inputs) {
      const std::size_t count = std::min(tile_inputs, n - i);
      float largest = 0;
      bool finite = true;
      for (std::size_t j = 0; j < count; ++j) {
        largest = std::max(largest, std::abs(x[i + j]));
        finite = finite && std::isfinite(x[i + j]);
      }
      const float inverse = finite && largest > 0 ? float(integer_limit) / largest : 0.0f;
      // 0 times a nan or an infinity of x is nan: so is the product
      scales[i / tile_inputs] = finite ? largest / float(integer_limit) : std::nanf("");
      for (std::size_t j = 0; j < count; ++j)
        values[lane(i + j)] = std::int16_t(std::nearbyint(finite ? x[i + j] * inverse : 0.0f));
    }
  }

  // Where input i of a tile stands: byte tables are interleaved within 128 bits, which gives 0..7, 16..23 and then
  // 8..15, 24..31 of each 32.
  static std::size_t lane(std::size_t i) {
    const std::size_t tile = i / 32 * 32, k = i % 32, eight = k / 8;
    return tile + (eight == 1 ? 16 : eight == 2 ? 8 : eight * 8) + k % 8;
  }
};

void matmul_blas(const packed_matrix& w, const float* x, std::size_t batch, float* out) {
  const std::size_t step = padded(w.inputs);
  std::vector<float> block(std::min(block_rows, w.rows) * step);
  for (std::size_t first = 0; first < w.rows; first += block_rows) {
    const std::size_t count = std::min(block_rows, w.rows - first);
    parallel_for(count, 4000 / (w.inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) expand_row(w, first + r, block.data() + r * step);
    });
    blas::gemm(false, true, batch, count, w.inputs, 1.0f, x, w.inputs, block.data(), step, 0.0f, out + first, w.rows);
  }
}

}  // namespace

void dequantize(const packed_matrix& w, float* out) {
  check(w);
  parallel_for(w.rows, 4000 / (w.inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> row(padded(w.inputs));
    for (std::size_t r = begin; r < end; ++r) {
      expand_row(w, r, row.data());
      std::copy_n(row.data(), w.inputs, out + r * w.inputs);
    }
  });
}

void matmul(const packed_matrix& w, const float* x, std::size_t batch, float* out, precision how) {
  check(w);
  if (w.rows == 0 || batch == 0) return;
  if (w.inputs == 0) {
    std::fill_n(out, w.rows * batch, 0.0f);
    return;
  }
  if (batch >= blas_from) return matmul_blas(w, x, batch, out);
  const bool fast = how == precision::fast && w.bits <= 4 && by_avx2(w);
  const std::size_t grain = 200000 / (w.inputs * batch) + 1;
  if (fast) {
    std::vector<rounded_block> rounded;
    for (std::size_t b = 0; b < batch; ++b) rounded.emplace_back(x + b * w.inputs, w.inputs);
    parallel_for(w.rows, grain, [&](std::size_t begin, std::size_t end) {
      for (std::size_t b = 0; b < batch; ++b) {
        fast_rows(w, {rounded[b].values.data(), rounded[b].scales.data()}, begin, end, out + b * w.rows);
      }
    });
    return;
  }
  parallel_for(w.rows, grain, [&](std::size_t begin, std::size_t end) {
    std::vector<float> row(padded(w.inputs));
    for (std::size_t r = begin; r < end; ++r) {
      expand_row(w, r, row.data());
      for (std::size_t b = 0; b < batch; ++b) dot(row.data(), x + b * w.inputs, w.inputs, out + b * w.rows + r);
    }
  });
}

}  // namespace telamon::quant
