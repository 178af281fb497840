// GPTQ (arXiv:2210.17323): inputs in order, each rounded to its row's codebook, its error spread over those that come.
// Several rows go together, so that a row of the factor is read once for all of them. inputs^2 flops a row.
#include <telamon/core/threads.hpp>

#include "multiversion.hpp"
#include "quant_rows.hpp"

#include <vector>

namespace telamon::quant {
namespace {

using namespace detail;

constexpr std::size_t rows_together = 8;

TELAMON_MULTIVERSION(subtract, (double scale, const double* x, double* y, std::size_t n), {
  TELAMON_SIMD
  for (std::size_t j = 0; j < n; ++j) y[j] -= scale * x[j];
})

}  // namespace

void gptq(std::size_t rows, std::size_t inputs, std::size_t levels, const float* weights, const double* u,
          const std::int64_t* order, const float* codebooks, std::uint8_t* codes) {
  check_levels("gptq", levels);
  const std::size_t blocks = (rows + rows_together - 1) / rows_together;
  parallel_for(blocks, 1, [&](std::size_t begin, std::size_t end) {
    std::vector<double> w(rows_together * inputs);
    std::vector<codebook<double>> books(rows_together, codebook<double>(levels));
    for (std::size_t block = begin; block < end; ++block) {
      const std::size_t first = block * rows_together, count = std::min(rows_together, rows - first);
      for (std::size_t r = 0; r < count; ++r) {
        const float* const from = weights + (first + r) * inputs;
        for (std::size_t p = 0; p < inputs; ++p) w[r * inputs + p] = double(from[order[p]]);
        std::copy_n(codebooks + (first + r) * levels, levels, books[r].values());
        books[r].prepare();
      }
      for (std::size_t p = 0; p < inputs; ++p) {
        const double* const row = u + p * inputs;
        for (std::size_t r = 0; r < count; ++r) {
          double* const x = w.data() + r * inputs;
          const std::size_t code = books[r].nearest(x[p]);
          codes[(first + r) * inputs + std::size_t(order[p])] = std::uint8_t(code);
          subtract((x[p] - books[r][code]) / row[p], row + p + 1, x + p + 1, inputs - p - 1);
        }
      }
    }
  });
}

}  // namespace telamon::quant
