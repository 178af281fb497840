// Packed codes by AVX2: as numbers, and up to 4 bits products with inputs rounded to integers.
//
// A row's codebook is rounded to 14 bits and a sign; its low and high bytes make two tables for pshufb, which looks up
// 32 codes at a time. Interleaved they are 16-bit numbers, which pmaddwd multiplies by the inputs and adds in pairs: at
// most 4 of its results, 64 inputs, fit in 32 bits. Then they become floats, times the scale of their block of inputs.
// About 21 instructions for 64 weights of 4 bits, 29 of 3 bits.
#include "quant_tiles.hpp"

#include "multiversion.hpp"

#if TELAMON_HAS_AVX2
#include <immintrin.h>

#include <algorithm>
#include <cmath>

namespace telamon::quant::detail {
namespace {

#define TELAMON_AVX2 __attribute__((target("avx2,fma")))

struct indices {
  __m256i first, second;  // of the inputs 0..31 and 32..63
};

template <int Bits>
TELAMON_AVX2 inline indices load_tile(const std::uint8_t* p) {
  if constexpr (Bits == 4) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), low = _mm256_set1_epi8(15);
    return {_mm256_and_si256(v, low), _mm256_and_si256(_mm256_srli_epi16(v, 4), low)};
  } else if constexpr (Bits == 1) {
    const __m256i v = _mm256_set1_epi64x(*reinterpret_cast<const long long*>(p)), one = _mm256_set1_epi8(1);
    return {_mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(0, 1, 2, 3)), one),
            _mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(4, 5, 6, 7)), one)};
  } else {
    const __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i three = _mm256_set1_epi8(3);
    indices at{_mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(0, 0, 2, 2)), three),
               _mm256_and_si256(_mm256_srlv_epi64(v, _mm256_setr_epi64x(4, 4, 6, 6)), three)};
    if constexpr (Bits == 3) {  // the third bit becomes the index's fourth, where two shifts bring it
      const __m256i top = _mm256_set1_epi64x(*reinterpret_cast<const long long*>(p + 16)), eight = _mm256_set1_epi8(8);
      at.first =
          _mm256_or_si256(at.first, _mm256_and_si256(_mm256_sllv_epi64(top, _mm256_setr_epi64x(3, 2, 1, 0)), eight));
      at.second =
          _mm256_or_si256(at.second, _mm256_and_si256(_mm256_srlv_epi64(top, _mm256_setr_epi64x(1, 2, 3, 4)), eight));
    }
    return at;
  }
}

// The codes themselves, of more than 4 bits: parts of 4, 2 and 1 bits one after the other.
template <int Bits>
TELAMON_AVX2 inline indices load_codes(const std::uint8_t* p) {
  if constexpr (Bits == 8) {
    const __m256i* const v = reinterpret_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
  } else {
    indices at = load_tile<4>(p);
    const auto add = [&](indices more, int shift) TELAMON_AVX2 {
      at.first = _mm256_or_si256(at.first, _mm256_slli_epi16(more.first, shift));
      at.second = _mm256_or_si256(at.second, _mm256_slli_epi16(more.second, shift));
    };
    if constexpr ((Bits & 2) != 0) add(load_tile<2>(p + 32), 4);
    if constexpr ((Bits & 1) != 0) add(load_tile<1>(p + 32 + ((Bits & 2) != 0 ? 16 : 0)), (Bits & 2) != 0 ? 6 : 4);
    return at;
  }
}

// Where a code's entry stands in the tables.
template <int Bits>
constexpr int place(int code) {
  return Bits == 3 ? (code & 3) | (code >> 2 << 3) : code;
}

struct tables {
  __m256i low, high;
  float scale;
};

template <int Bits>
TELAMON_AVX2 inline tables make_tables(const float* codebook) {
  float largest = 0;
  for (int a = 0; a < 1 << Bits; ++a) largest = std::max(largest, std::abs(codebook[a]));
  alignas(16) std::uint8_t low[16] = {}, high[16] = {};
  const float scale = largest > 0 ? largest / float(integer_limit) : 0.0f,
              inverse = largest > 0 ? float(integer_limit) / largest : 0.0f;
  for (int a = 0; a < 1 << Bits; ++a) {
    const int v = int(std::nearbyint(codebook[a] * inverse));
    low[place<Bits>(a)] = std::uint8_t(v & 255), high[place<Bits>(a)] = std::uint8_t((v >> 8) & 255);
  }
  return {_mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(low))),
          _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(high))), scale};
}

// Sixteen numbers each times the inputs that lie likewise: unpacking interleaves within halves of 128 bits.
TELAMON_AVX2 inline __m256i multiply(__m256i at, const tables& t, const std::int16_t* x) {
  const __m256i low = _mm256_shuffle_epi8(t.low, at), high = _mm256_shuffle_epi8(t.high, at);
  const __m256i* const p = reinterpret_cast<const __m256i*>(x);
  return _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi8(low, high), _mm256_loadu_si256(p)),
                          _mm256_madd_epi16(_mm256_unpackhi_epi8(low, high), _mm256_loadu_si256(p + 1)));
}

TELAMON_AVX2 inline float sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// The numbers themselves: up to 16 by vpermps, which looks up 8 by the lowest 3 bits, more by gathering.
template <int Bits>
TELAMON_AVX2 void expand_of(const packed_matrix& w, std::size_t row, float* out) {
  constexpr std::size_t levels = std::size_t(1) << Bits;
  const std::size_t tiles = (w.inputs + tile_inputs - 1) / tile_inputs;
  const std::size_t per_group = w.group == 0 ? tiles : w.group / tile_inputs;
  const std::size_t groups = (tiles + per_group - 1) / per_group;
  const std::uint8_t* p = w.codes + row * tiles * 8 * Bits;
  for (std::size_t g = 0; g < groups; ++g) {
    const float* const book = w.codebooks + (row * groups + g) * levels;
    alignas(32) float table[16] = {};
    for (std::size_t a = 0; a < levels && Bits <= 4; ++a) table[place<Bits>(int(a))] = book[a];
    const __m256 low = _mm256_load_ps(table), high = _mm256_load_ps(table + 8);
    const std::size_t end = std::min(tiles, (g + 1) * per_group);
    for (std::size_t i = g * per_group; i < end; ++i, p += 8 * Bits) {
      indices at;
      if constexpr (Bits <= 4)
        at = load_tile<Bits>(p);
      else
        at = load_codes<Bits>(p);
      alignas(32) std::uint8_t codes[tile_inputs];
      _mm256_store_si256(reinterpret_cast<__m256i*>(codes), at.first);
      _mm256_store_si256(reinterpret_cast<__m256i*>(codes + 32), at.second);
      for (std::size_t j = 0; j < tile_inputs; j += 8) {
        const __m256i k = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + j)));
        __m256 v;
        if constexpr (Bits > 4) {
          v = _mm256_i32gather_ps(book, k, 4);
        } else {
          v = _mm256_permutevar8x32_ps(low, k);
          if constexpr (Bits >= 3) {  // the fourth bit goes to the sign, which blendv looks at
            const __m256 upper = _mm256_permutevar8x32_ps(high, k);
            v = _mm256_blendv_ps(v, upper, _mm256_castsi256_ps(_mm256_slli_epi32(k, 28)));
          }
        }
        _mm256_storeu_ps(out + i * tile_inputs + j, v);
      }
    }
  }
}

template <int Bits>
TELAMON_AVX2 void rows_of(const packed_matrix& w, const rounded_inputs& x, std::size_t first, std::size_t last,
                          float* out) {
  const std::size_t tiles = (w.inputs + tile_inputs - 1) / tile_inputs, bytes = tiles * 8 * Bits;
  const std::size_t per_group = w.group == 0 ? tiles : w.group / tile_inputs;
  const std::size_t groups = (tiles + per_group - 1) / per_group;
  for (std::size_t r = first; r < last; ++r) {
    const std::uint8_t* p = w.codes + r * bytes;
    float total = 0;
    for (std::size_t g = 0; g < groups; ++g) {
      const tables t = make_tables<Bits>(w.codebooks + (r * groups + g) * (std::size_t(1) << Bits));
      const std::size_t end = std::min(tiles, (g + 1) * per_group);
      __m256 partial = _mm256_setzero_ps();
      for (std::size_t i = g * per_group; i < end; ++i, p += 8 * Bits) {
        const indices at = load_tile<Bits>(p);
        const std::int16_t* const xi = x.values + i * tile_inputs;
        const __m256i s = _mm256_add_epi32(multiply(at.first, t, xi), multiply(at.second, t, xi + 32));
        partial = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), _mm256_broadcast_ss(x.scales + i), partial);
      }
      total += t.scale * sum(partial);
    }
    out[r] = total;
  }
}

}  // namespace

bool has_avx2_products() noexcept { return active_isa() == isa::avx2; }

void fast_rows(const packed_matrix& w, const rounded_inputs& x, std::size_t first, std::size_t last, float* out) {
  switch (w.bits) {
    case 1:
      return rows_of<1>(w, x, first, last, out);
    case 2:
      return rows_of<2>(w, x, first, last, out);
    case 3:
      return rows_of<3>(w, x, first, last, out);
    default:
      return rows_of<4>(w, x, first, last, out);
  }
}

void expand_row_avx2(const packed_matrix& w, std::size_t row, float* out) {
  switch (w.bits) {
    case 1:
      return expand_of<1>(w, row, out);
    case 2:
      return expand_of<2>(w, row, out);
    case 3:
      return expand_of<3>(w, row, out);
    case 4:
      return expand_of<4>(w, row, out);
    case 5:
      return expand_of<5>(w, row, out);
    case 6:
      return expand_of<6>(w, row, out);
    case 7:
      return expand_of<7>(w, row, out);
    default:
      return expand_of<8>(w, row, out);
  }
}

}  // namespace telamon::quant::detail

#else

namespace telamon::quant::detail {
bool has_avx2_products() noexcept { return false; }
void fast_rows(const packed_matrix&, const rounded_inputs&, std::size_t, std::size_t, float*) {}
void expand_row_avx2(const packed_matrix&, std::size_t, float*) {}
}  // namespace telamon::quant::detail

#endif
