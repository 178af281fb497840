#include "so3_straight.cuh"

#include <telamon/so3/straight.hpp>

#include "blocks.cuh"

namespace telamon::so3 {
namespace {

template <kind Which, int L>
__global__ void __launch_bounds__(128) straight(const __grid_constant__ columns::product_plan<float> plan) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < plan.count; i += stride) {
    columns::straight<Which, L>(plan, columns::column_of(plan, i));
  }
}

template <int L>
int launch(kind which, const columns::product_plan<float>& plan, void* stream) {
  constexpr std::size_t threads = 128;
  const auto kernel = which == kind::even  ? straight<kind::even, L>
                      : which == kind::odd ? straight<kind::odd, L>
                      : which == kind::sum ? straight<kind::sum, L>
                                           : straight<kind::complete, L>;
  return cuda::launch_blocks(kernel, (plan.count + threads - 1) / threads, threads, 0, stream, plan);
}

}  // namespace

int launch_straight(int l, kind which, const columns::product_plan<float>& plan, void* stream) {
  static_assert(detail::straight_even_until == 4);
  return l == 1   ? launch<1>(which, plan, stream)
         : l == 2 ? launch<2>(which, plan, stream)
         : l == 3 ? launch<3>(which, plan, stream)
                  : launch<4>(which, plan, stream);
}

}  // namespace telamon::so3
