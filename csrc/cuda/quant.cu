// Products with packed matrices of few bits on NVIDIA GPUs: a warp decodes a row for some vectors; many vectors go by
// blocks of the matrix as numbers, and cuBLAS.
//
// The C functions are like those of launch.cuh: device pointers and a stream, no waiting, and 0, a cudaError_t or a
// code of blas.cuh. Codes lie in tiles as telamon/quant.hpp says. Word w of the two (4 bytes each) that a tile has for
// its lowest bit holds the inputs i with i % 8 / 4 = w, and so do the words w + 2, w + 4, ... of any part, so that a
// lane that takes word w of all parts has whole codes: 32 inputs, in runs of four at 8 m + 4 w.
#include <telamon/core/config.hpp>

#include "blas.cuh"
#include "blocks.cuh"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace telamon::quant {
namespace {

constexpr int tile_inputs = 64, runs = 8;        // runs of four inputs that a lane has of a tile
constexpr int warp = 32, warps = 4;              // of a block
constexpr int most_together = 4;                 // vectors that a warp multiplies with a row at a time
constexpr std::size_t blas_from = 17;            // vectors: below, codes are read a few times, and no numbers written
constexpr std::size_t block_numbers = 1u << 25;  // of the matrix that are dequantised at a time, 128 MiB
constexpr int most_levels = 256;

// A matrix (rows, inputs) on the device, as telamon::quant::packed_matrix.
struct matrix {
  std::size_t rows, inputs;
  const std::uint8_t* codes;
  const float* codebooks;
  std::size_t group, groups;
};

template <int Bits>
__device__ std::size_t row_bytes(std::size_t inputs) {
  return (inputs + tile_inputs - 1) / tile_inputs * (8 * Bits);
}

// ---- codes

// Calls f(bits of the part, its lowest bit in the code, its first word in the tile).
template <int Bits, class F>
__device__ __forceinline__ void for_parts(F f) {
  if constexpr (Bits == 8) {
    f(std::integral_constant<int, 8>(), 0, 0);
  } else {
    int low = 0, word = 0;
    if constexpr ((Bits & 4) != 0) f(std::integral_constant<int, 4>(), low, word), low += 4, word += 8;
    if constexpr ((Bits & 2) != 0) f(std::integral_constant<int, 2>(), low, word), low += 2, word += 4;
    if constexpr ((Bits & 1) != 0) f(std::integral_constant<int, 1>(), low, word);
  }
}

// The 2 Bits words of a lane: every second one of the tile.
template <int Bits>
struct lane_codes {
  static constexpr int count = Bits;
  std::uint32_t words[count];

  __device__ __forceinline__ explicit lane_codes(const std::uint32_t* tile_word) {
#pragma unroll
    for (int a = 0; a < count; ++a) words[a] = __ldg(tile_word + 2 * a);
  }

  // The codes of run m, those of the inputs 8 m + 4 w + 0..3, in four bytes. m is known to the compiler.
  __device__ __forceinline__ std::uint32_t run(int m) const {
    std::uint32_t bytes = 0;
    for_parts<Bits>([&](auto part, int low, int word) {
      constexpr int p = decltype(part)::value;
      constexpr std::uint32_t mask = 0x01010101u * ((1u << p) - 1);
      // Byte j of a part of p bits holds the inputs j + 8 p k; byte 8 a + 4 w + b is in this lane's word a.
      bytes |= ((words[word / 2 + m % p] >> (m / p * p)) & mask) << low;
    });
    return bytes;
  }
};

// ---- a warp for each row

// Inputs of codebooks of their own, or one codebook for the row.
enum class books { row, grouped };

template <int Bits, int Together, books Books>
__global__ void __launch_bounds__(warp* warps)
    multiply(const matrix w, const float* x, int batch, bool by_four, std::size_t shared_floats, float* out) {
  extern __shared__ float memory[];
  constexpr int levels = 1 << Bits;
  const int lane = int(threadIdx.x) % warp, mine = int(threadIdx.x) / warp;
  const std::size_t tiles = (w.inputs + tile_inputs - 1) / tile_inputs;
  const std::size_t numbers = w.groups * levels;
  float* const kept = memory + std::size_t(mine) * shared_floats;
  const unsigned group = unsigned(w.group);

  for (std::size_t row = std::size_t(blockIdx.x) * warps + std::size_t(mine); row < w.rows;
       row += std::size_t(gridDim.x) * warps) {
    const float* from = w.codebooks + row * numbers;
    if (Books == books::row || shared_floats != 0) {
      __syncwarp();  // the row before is done with
      for (std::size_t i = std::size_t(lane); i < numbers; i += warp) kept[i] = from[i];
      __syncwarp();
    }
    // Known to be in shared memory where the row has one codebook, which makes for shorter loads.
    const float* const book = Books == books::row || shared_floats != 0 ? kept : from;
    const auto* const words =
        reinterpret_cast<const std::uint32_t*>(w.codes + row * row_bytes<Bits>(w.inputs)) + lane % 2;

    float sums[Together] = {};
    for (std::size_t tile = std::size_t(lane / 2); tile < tiles; tile += warp / 2) {
      const lane_codes<Bits> codes(words + tile * (2 * Bits));
      const std::size_t first = tile * tile_inputs + std::size_t(lane % 2 * 4);
#pragma unroll
      for (int m = 0; m < runs; ++m) {
        const std::size_t i = first + std::size_t(8 * m);
        const std::uint32_t run = codes.run(m);
        float c[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          unsigned offset = 0;
          if constexpr (Books == books::grouped) {
            // What is beyond the inputs has no group.
            offset = (i + std::size_t(k) < w.inputs ? unsigned(i + std::size_t(k)) / group : 0) * unsigned(levels);
          }
          c[k] = book[offset + ((run >> (8 * k)) & 0xffu)];
        }
#pragma unroll
        for (int b = 0; b < Together; ++b) {
          if (b >= batch) break;
          const float* const at = x + std::size_t(b) * w.inputs + i;
          if (by_four) {
            if (i < w.inputs) {
              const float4 four = *reinterpret_cast<const float4*>(at);
              sums[b] += c[0] * four.x, sums[b] += c[1] * four.y;
              sums[b] += c[2] * four.z, sums[b] += c[3] * four.w;
            }
          } else {
#pragma unroll
            for (int k = 0; k < 4; ++k) {
              if (i + std::size_t(k) < w.inputs) sums[b] += c[k] * at[k];
            }
          }
        }
      }
    }
#pragma unroll
    for (int b = 0; b < Together; ++b) {
      for (int step = warp / 2; step > 0; step /= 2) sums[b] += __shfl_xor_sync(0xffffffffu, sums[b], step);
      if (lane == 0 && b < batch) out[std::size_t(b) * w.rows + row] = sums[b];
    }
  }
}

template <int Bits, int Together, books Books>
int launch_multiply(const matrix& w, const float* x, int batch, float* out, void* stream) {
  const std::size_t numbers = w.groups << Bits;
  // Codebooks of many groups stay where they are, and in the caches.
  const std::size_t shared = numbers <= 4 * most_levels ? numbers : 0;
  const bool by_four = w.inputs % 4 == 0 && reinterpret_cast<std::uintptr_t>(x) % sizeof(float4) == 0;
  return cuda::launch_blocks(multiply<Bits, Together, Books>, (w.rows + warps - 1) / warps, warp * warps,
                             warps * shared * sizeof(float), stream, w, x, batch, by_four, shared, out);
}

template <int Bits>
int multiply_few(const matrix& w, const float* x, std::size_t batch, float* out, void* stream) {
  for (std::size_t b = 0; b < batch;) {
    const int together = int(std::min(batch - b, std::size_t(most_together)));
    const float* const from = x + b * w.inputs;
    float* const to = out + b * w.rows;
    int error = 0;
    if (w.group == 0) {
      error = together == 1 ? launch_multiply<Bits, 1, books::row>(w, from, 1, to, stream)
                            : launch_multiply<Bits, most_together, books::row>(w, from, together, to, stream);
    } else {
      error = together == 1 ? launch_multiply<Bits, 1, books::grouped>(w, from, 1, to, stream)
                            : launch_multiply<Bits, most_together, books::grouped>(w, from, together, to, stream);
    }
    if (error) return error;
    b += std::size_t(together);
  }
  return cudaSuccess;
}

// ---- the matrix as numbers

// Two threads for each tile, as above.
template <int Bits>
__global__ void __launch_bounds__(256) expand(const matrix w, float* out) {
  constexpr int levels = 1 << Bits;
  const std::size_t tiles = (w.inputs + tile_inputs - 1) / tile_inputs, all = w.rows * tiles * 2;
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  const unsigned group = w.group == 0 ? unsigned(w.inputs) : unsigned(w.group);
  for (std::size_t t = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; t < all; t += stride) {
    const std::size_t row = t / 2 / tiles, tile = t / 2 - row * tiles, first = tile * tile_inputs + t % 2 * 4;
    const lane_codes<Bits> codes(
        reinterpret_cast<const std::uint32_t*>(w.codes + row * row_bytes<Bits>(w.inputs) + tile * (8 * Bits)) + t % 2);
    const float* const from = w.codebooks + row * w.groups * levels;
    float* const to = out + row * w.inputs;
#pragma unroll
    for (int m = 0; m < runs; ++m) {
      const std::uint32_t run = codes.run(m);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const std::size_t i = first + std::size_t(8 * m + k);
        if (i < w.inputs) to[i] = __ldg(from + unsigned(i) / group * unsigned(levels) + ((run >> (8 * k)) & 0xffu));
      }
    }
  }
}

template <int Bits>
int expand_rows(const matrix& w, float* out, void* stream) {
  const std::size_t pieces = w.rows * ((w.inputs + tile_inputs - 1) / tile_inputs) * 2;
  return cuda::launch_blocks(expand<Bits>, (pieces + 255) / 256, 256, 0, stream, w, out);
}

std::size_t rows_together(std::size_t rows, std::size_t inputs) {
  return std::min(rows, std::max(std::size_t(1), block_numbers / inputs));
}

template <int Bits>
int multiply_many(const matrix& w, const float* x, std::size_t batch, float* out, float* work, std::size_t work_size,
                  void* stream) {
  using cuda::transposed;
  const std::size_t most = rows_together(w.rows, w.inputs), bytes = (w.inputs + 63) / 64 * (8 * Bits);
  if (work == nullptr || work_size < most * w.inputs) return cudaErrorInvalidValue;
  const auto whole = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  for (std::size_t first = 0; first < w.rows; first += most) {
    matrix part = w;
    part.rows = std::min(most, w.rows - first);
    part.codes += first * bytes;
    part.codebooks += first * w.groups << Bits;
    if (const int error = expand_rows<Bits>(part, work, stream)) return error;
    // By columns, work is (inputs, rows), x (inputs, batch) and out (rows, batch).
    if (const int error = cuda::gemm<float>(transposed::yes, transposed::no, whole(part.rows), whole(batch),
                                            whole(w.inputs), {work, whole(w.inputs)}, {x, whole(w.inputs)}, 0.0f,
                                            {out + first, whole(w.rows)}, 1, stream)) {
      return error;
    }
  }
  return cudaSuccess;
}

// ---- by the number of bits

template <class F>
int with_bits(int bits, F f) {
  switch (bits) {
    case 1:
      return f(std::integral_constant<int, 1>());
    case 2:
      return f(std::integral_constant<int, 2>());
    case 3:
      return f(std::integral_constant<int, 3>());
    case 4:
      return f(std::integral_constant<int, 4>());
    case 5:
      return f(std::integral_constant<int, 5>());
    case 6:
      return f(std::integral_constant<int, 6>());
    case 7:
      return f(std::integral_constant<int, 7>());
    case 8:
      return f(std::integral_constant<int, 8>());
    default:
      return cudaErrorInvalidValue;
  }
}

// Indices of inputs are 32-bit within a row; codes are read in words.
bool is_sound(std::size_t inputs, const std::uint8_t* codes) {
  return inputs > 0 && inputs < (std::size_t(1) << 31) &&
         reinterpret_cast<std::uintptr_t>(codes) % sizeof(std::uint32_t) == 0;
}

matrix matrix_of(std::size_t rows, std::size_t inputs, const std::uint8_t* codes, const float* codebooks,
                 std::size_t group) {
  const std::size_t length = std::min(group, inputs);  // so that it fits 32 bits
  return {rows, inputs, codes, codebooks, length, length == 0 ? 1 : (inputs + length - 1) / length};
}

}  // namespace
}  // namespace telamon::quant

// How many floats of work a product with `batch` vectors takes.
extern "C" TELAMON_API int telamon_cuda_quant_matmul_work(std::size_t rows, std::size_t inputs, std::size_t batch,
                                                          std::size_t* size) {
  using namespace telamon::quant;
  *size = batch < blas_from || inputs == 0 ? 0 : rows_together(rows, inputs) * inputs;
  return cudaSuccess;
}

// out (batch, rows) = x (batch, inputs) w'. codes (rows, row_bytes), at a multiple of 4 bytes; codebooks (rows, groups,
// 2^bits); group: inputs of a codebook, 0 = the whole row.
extern "C" TELAMON_API int telamon_cuda_quant_matmul(std::size_t rows, std::size_t inputs, int bits,
                                                     const std::uint8_t* codes, const float* codebooks,
                                                     std::size_t group, const float* x, std::size_t batch, float* out,
                                                     float* work, std::size_t work_size, void* stream) {
  using namespace telamon::quant;
  if (rows == 0 || batch == 0) return cudaSuccess;
  if (!is_sound(inputs, codes)) return cudaErrorInvalidValue;
  const matrix w = matrix_of(rows, inputs, codes, codebooks, group);
  return with_bits(bits, [&](auto b) {
    constexpr int known = decltype(b)::value;
    return batch < blas_from ? multiply_few<known>(w, x, batch, out, stream)
                             : multiply_many<known>(w, x, batch, out, work, work_size, stream);
  });
}

// out (rows, inputs), the numbers themselves.
extern "C" TELAMON_API int telamon_cuda_quant_dequantize(std::size_t rows, std::size_t inputs, int bits,
                                                         const std::uint8_t* codes, const float* codebooks,
                                                         std::size_t group, float* out, void* stream) {
  using namespace telamon::quant;
  if (rows == 0) return cudaSuccess;
  if (!is_sound(inputs, codes)) return cudaErrorInvalidValue;
  const matrix w = matrix_of(rows, inputs, codes, codebooks, group);
  return with_bits(bits, [&](auto b) { return expand_rows<decltype(b)::value>(w, out, stream); });
}
