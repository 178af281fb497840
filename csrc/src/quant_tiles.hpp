// Tiles of packed codes (telamon/quant.hpp says how they lie), and what the files of products share.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/quant.hpp>

#include <cstddef>
#include <cstdint>

namespace telamon::quant::detail {

// Calls f(bits of the part, its lowest bit in the code) in the order in which the parts lie.
template <class F>
TELAMON_INLINE void for_parts(int bits, F f) {
  if (bits == 8) return f(8, 0);
  int low = 0;
  for (int part : {4, 2, 1}) {
    if (bits & part) f(part, low), low += part;
  }
}

TELAMON_INLINE void unpack_tile(int bits, const std::uint8_t* from, std::uint8_t* codes) {
  for (std::size_t i = 0; i < tile_inputs; ++i) codes[i] = 0;
  for_parts(bits, [&](int part, int low) TELAMON_INLINE_LAMBDA {
    const int inputs = 8 / part, bytes = 8 * part;
    for (int k = 0; k < inputs; ++k) {
      TELAMON_SIMD
      for (int j = 0; j < bytes; ++j) {
        codes[k * bytes + j] =
            std::uint8_t(codes[k * bytes + j] | (((from[j] >> (k * part)) & ((1 << part) - 1)) << low));
      }
    }
    from += bytes;
  });
}

// The inputs of x in blocks of a tile, as integers of 14 bits and a sign, times a scale; codebooks likewise. Eight
// products of such integers fit in 32 bits.
inline constexpr int integer_limit = 16383;
struct rounded_inputs {
  const std::int16_t* values;  // (tiles, 64)
  const float* scales;         // (tiles)
};

// In quant_avx2.cpp, for groups of whole tiles. out[row], for the rows [first, last), one x and up to 4 bits:
bool has_avx2_products() noexcept;
void fast_rows(const packed_matrix& w, const rounded_inputs& x, std::size_t first, std::size_t last, float* out);
// A row of numbers, filled up to whole tiles.
void expand_row_avx2(const packed_matrix& w, std::size_t row, float* out);

}  // namespace telamon::quant::detail
