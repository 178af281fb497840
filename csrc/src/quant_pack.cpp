// Packed codes: there, and back.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include "quant_tiles.hpp"

#include <algorithm>

namespace telamon::quant {
namespace {

using namespace detail;

void check_bits(const char* name, int bits) {
  require(bits >= 1 && bits <= 8, "quant.", name, ": bits is ", bits, "; pass 1 to 8");
}

void pack_tile(int bits, const std::uint8_t* codes, std::uint8_t* to) {
  for_parts(bits, [&](int part, int low) {
    const int inputs = 8 / part, bytes = 8 * part;  // inputs of a byte; bytes of the part
    for (int j = 0; j < bytes; ++j) {
      unsigned byte = 0;
      for (int k = 0; k < inputs; ++k) {
        byte |= ((unsigned(codes[k * bytes + j]) >> low) & ((1u << part) - 1)) << (k * part);
      }
      *to++ = std::uint8_t(byte);
    }
  });
}

}  // namespace

void pack(std::size_t rows, std::size_t inputs, int bits, const std::uint8_t* codes, std::uint8_t* packed) {
  check_bits("pack", bits);
  const std::size_t bytes = row_bytes(inputs, bits);
  parallel_for(rows, 20000 / (inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      std::uint8_t tile[tile_inputs];
      std::uint8_t* to = packed + r * bytes;
      for (std::size_t i = 0; i < inputs; i += tile_inputs, to += 8 * bits) {
        const std::size_t count = std::min(tile_inputs, inputs - i);
        std::copy_n(codes + r * inputs + i, count, tile);
        std::fill(tile + count, tile + tile_inputs, std::uint8_t(0));
        pack_tile(bits, tile, to);
      }
    }
  });
}

void unpack(std::size_t rows, std::size_t inputs, int bits, const std::uint8_t* packed, std::uint8_t* codes) {
  check_bits("unpack", bits);
  const std::size_t bytes = row_bytes(inputs, bits);
  parallel_for(rows, 20000 / (inputs + 1) + 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      std::uint8_t tile[tile_inputs];
      const std::uint8_t* from = packed + r * bytes;
      for (std::size_t i = 0; i < inputs; i += tile_inputs, from += 8 * bits) {
        unpack_tile(bits, from, tile);
        std::copy_n(tile, std::min(tile_inputs, inputs - i), codes + r * inputs + i);
      }
    }
  });
}

}  // namespace telamon::quant
