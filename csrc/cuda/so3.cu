// Products of functions on the sphere on NVIDIA GPUs, from the templates that the host runs too.
//
// A thread has one column, that is one (sample, channel), and neighbours have neighbouring channels, so that arrays
// with channels last are read in whole lines. Its tiles are in shared memory, at odd distances from those of its
// neighbours: then the 32 threads of a warp meet in no bank. Where the degrees are too high for that, products of two
// take a block of threads for each column; the others go on with fewer threads, and end where a single one does not
// fit. On an H100 a warp fits for L, L -> L up to L = 21 in single precision and 14 in double, a block up to 130 and
// 89, and for the complete product up to 104 and 69. Equal degrees up to 4 in single precision need no tiles:
// so3_straight.cu.
//
// The C functions take descriptions of arrays on the device and a stream, launch without waiting and return a
// cudaError_t as int: cudaErrorInvalidValue for arguments that make no sense, and for degrees that are too high. The
// first call for new degrees uploads their tables, and waits for that alone.
#include <telamon/core/config.hpp>
#include <telamon/so3/block.hpp>
#include <telamon/so3/columns.hpp>

#include "blocks.cuh"
#include "so3_straight.cuh"
#include "so3_tables.cuh"

#include <cstddef>
#include <cstdint>

namespace telamon::so3 {
namespace {

using columns::array;
using columns::storage;

extern __shared__ double shared_memory[];  // of a type that aligns for all

// ---- a thread a column

template <kind Which>
struct product_of {
  template <class T>
  __device__ static void run(const columns::product_plan<T>& plan, columns::column at, T* memory) {
    columns::product<Which>(plan, at, memory);
  }
};
struct conv_of {
  template <class T>
  __device__ static void run(const columns::conv_plan<T>& plan, columns::column at, T* memory) {
    columns::conv(plan, at, memory);
  }
};
struct monomial_of {
  template <class T>
  __device__ static void run(const columns::monomial_plan<T>& plan, columns::column at, T* memory) {
    columns::monomial(plan, at, memory);
  }
};

template <class T, class Function, template <class> class Plan>
__global__ void __launch_bounds__(64) by_thread(const __grid_constant__ Plan<T> plan, std::ptrdiff_t elements) {
  T* const memory = reinterpret_cast<T*>(shared_memory) + threadIdx.x * elements;
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = std::size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < plan.count; i += stride) {
    Function::run(plan, columns::column_of(plan, i), memory);
  }
}

// `elements`: what a thread needs. At least `fewest` threads, or cudaErrorInvalidValue.
template <class Function, template <class> class Plan, class T>
int launch_threads(const Plan<T>& plan, std::ptrdiff_t elements, int fewest, void* stream) {
  if (plan.count == 0) return cudaSuccess;
  elements |= 1;
  const std::size_t each = std::size_t(elements) * sizeof(T);
  std::size_t most = 0;
  if (const int error = cuda::most_shared(most)) return error;
  int threads = 64 * each <= 32768 ? 64 : 32;  // small blocks leave less of the memory unused
  while (threads > 1 && std::size_t(threads) * each > most) threads /= 2;
  if (threads < fewest) return cudaErrorInvalidValue;
  const std::size_t blocks = (plan.count + std::size_t(threads) - 1) / std::size_t(threads);
  return cuda::launch_blocks(by_thread<T, Function, Plan>, blocks, threads, std::size_t(threads) * each, stream, plan,
                             elements);
}

// ---- a block a column

template <class T>
__global__ void __launch_bounds__(128) by_block(const __grid_constant__ columns::product_plan<T> plan, kind which) {
  columns::block_product<T> block(plan, which, reinterpret_cast<T*>(shared_memory));
  const int thread = int(threadIdx.x), threads = int(blockDim.x);
  for (std::size_t i = blockIdx.x; i < plan.count; i += gridDim.x) {
    const columns::column at = columns::column_of(plan, i);
    block.start(at, thread, threads);
    __syncthreads();
    for (int first = 0; first < block.pairs(); first += block.pairs_at_once) {
      block.synthesis(first, thread, threads);
      __syncthreads();
      block.convolution(first, thread, threads);
      __syncthreads();
      block.analysis(first, thread, threads);
      __syncthreads();
    }
    block.finish(at, thread, threads);
    __syncthreads();
  }
}

// ---- plans

bool degrees_fit(int l1, int l2, int l3) { return l1 >= 0 && l2 >= 0 && l3 >= 0 && l3 <= l1 + l2; }

// All double, or none.
template <class T>
bool fits(const array& a) {
  return a.type != storage::one && (a.type == storage::f64) == (sizeof(T) == 8);
}

template <class T>
int product_tables_of(int l1, int l2, int l3, detail::product_tables<T>& tables) {
  const int nodes = detail::nodes_for(l1 + l2 + l3);
  if (const int error = device_parallels(l1, nodes, tables.x)) return error;
  if (const int error = device_parallels(l2, nodes, tables.y)) return error;
  return device_parallels(l3, nodes, tables.z);
}

// Weights come in the type of the arithmetic.
struct weights {
  const void* data;
  std::ptrdiff_t degree, channel;

  template <class T>
  degree_weights<T> as() const {
    return {static_cast<const T*>(data), degree, channel};
  }
};

template <class T>
int product(int l1, int l2, int l3, kind which, bool accumulate, const array& x, const array& y, const array& out,
            const array& odd, const weights* w, std::size_t samples, std::size_t channels, void* stream) {
  if (which < kind::even || which > kind::complete) return cudaErrorInvalidValue;
  if (!degrees_fit(l1, l2, l3) || !fits<T>(x) || !fits<T>(y) || !fits<T>(out) || !fits<T>(odd)) {
    return cudaErrorInvalidValue;
  }
  columns::product_plan<T> plan = {
      {}, x, y, out, odd, w[0].as<T>(), w[1].as<T>(), w[2].as<T>(), accumulate, channels, samples * channels};
  if (plan.count == 0) return cudaSuccess;
  if constexpr (sizeof(T) == 4) {
    if (has_straight(l1, l2, l3)) return launch_straight(l1, which, plan, stream);
  }
  if (const int error = product_tables_of(l1, l2, l3, plan.tables)) return error;

  std::size_t most = 0;
  if (const int error = cuda::most_shared(most)) return error;
  const std::ptrdiff_t elements = columns::product_memory(which, l1, l2, l3);
  if (32 * std::size_t(elements | 1) * sizeof(T) > most) {
    const auto shared = sizeof(T) * std::size_t(columns::block_product<T>::memory(which, l1, l2, l3));
    return cuda::launch_blocks(by_block<T>, plan.count, 128, shared, stream, plan, which);
  }
  switch (which) {
    case kind::even:
      return launch_threads<product_of<kind::even>>(plan, elements, 32, stream);
    case kind::odd:
      return launch_threads<product_of<kind::odd>>(plan, elements, 32, stream);
    case kind::sum:
      return launch_threads<product_of<kind::sum>>(plan, elements, 32, stream);
    case kind::complete:
      return launch_threads<product_of<kind::complete>>(plan, elements, 32, stream);
  }
  return cudaErrorInvalidValue;
}

template <class T>
int conv(int l1, int l2, int l3, const array& x, const void* harmonics, const array& w, const array& out,
         const std::int64_t* senders, const std::int64_t* order, const std::int64_t* start, std::size_t nodes,
         std::size_t outputs, std::size_t channels, void* stream) {
  if (!degrees_fit(l1, l2, l3) || !fits<T>(x) || !fits<T>(w) || !fits<T>(out)) return cudaErrorInvalidValue;
  columns::conv_plan<T> plan = {
      {}, x, w, out, static_cast<const T*>(harmonics), senders, order, start, nodes, channels, outputs * channels};
  if (plan.count == 0) return cudaSuccess;
  if (const int error = product_tables_of(l1, l2, l3, plan.tables)) return error;
  return launch_threads<conv_of>(plan, columns::conv_memory(l1, l2, l3), 1, stream);
}

template <class T>
int monomial(int n, const int* degrees, const int* powers, const array* factors, int lmax, const array& out,
             bool accumulate, std::size_t samples, std::size_t channels, void* stream) {
  if (n < 1 || n > columns::max_factors - 1 || !fits<T>(out)) return cudaErrorInvalidValue;
  columns::monomial_plan<T> plan = {};
  int power = 0;
  for (int k = 0; k < n; ++k) {
    if (degrees[k] < 0 || powers[k] < 1 || !fits<T>(factors[k])) return cudaErrorInvalidValue;
    plan.powers[k] = powers[k], plan.x[k] = factors[k];
    plan.total += powers[k] * degrees[k], power += powers[k];
  }
  if (lmax < 0 || lmax > plan.total) return cudaErrorInvalidValue;
  plan.factors = n, plan.out = out, plan.accumulate = accumulate;
  plan.channels = channels, plan.count = samples * channels;
  if (plan.count == 0) return cudaSuccess;
  const int nodes = detail::nodes_for(plan.total + lmax);
  for (int k = 0; k < n; ++k) {
    if (const int error = device_parallels(degrees[k], nodes, plan.tables[k])) return error;
  }
  if (power == 1) {  // times the constant function
    if (const int error = device_parallels(0, nodes, plan.tables[n])) return error;
    plan.powers[n] = 1, plan.x[n] = {nullptr, 0, 0, 0, storage::one};
    plan.factors = n + 1;
  }
  if (const int error = device_parallels(lmax, nodes, plan.out_table)) return error;
  return launch_threads<monomial_of>(plan, columns::monomial_memory(plan), 1, stream);
}

}  // namespace
}  // namespace telamon::so3

extern "C" {

// kind: 0 even, 1 odd, 2 sum, 3 complete, which alone writes `odd`. w: those of x, y and the result, or null pointers.
TELAMON_API int telamon_cuda_so3_product(int l1, int l2, int l3, int kind, int accumulate, const telamon::so3::array* x,
                                         const telamon::so3::array* y, const telamon::so3::array* out,
                                         const telamon::so3::array* odd, const telamon::so3::weights* w,
                                         std::size_t samples, std::size_t channels, void* stream) {
  using namespace telamon::so3;
  const auto which = static_cast<telamon::so3::kind>(kind);
  const auto run = out->type == storage::f64 ? product<double> : product<float>;
  return run(l1, l2, l3, which, accumulate != 0, *x, *y, *out, *odd, w, samples, channels, stream);
}

// Edges: harmonics (edges, components(l2)) of their directions and w (edges, l2 + 1, channels). Null senders: edge e
// reads row e of x. start and order: output r is the sum over the edges order[start[r]], ..., order[start[r + 1] - 1];
// null: output e is edge e's. A sender that is none of the `nodes` makes its receiver NaN.
TELAMON_API int telamon_cuda_so3_conv(int l1, int l2, int l3, const telamon::so3::array* x, const void* harmonics,
                                      const telamon::so3::array* w, const telamon::so3::array* out,
                                      const std::int64_t* senders, const std::int64_t* order, const std::int64_t* start,
                                      std::size_t nodes, std::size_t outputs, std::size_t channels, void* stream) {
  using namespace telamon::so3;
  const auto run = out->type == storage::f64 ? conv<double> : conv<float>;
  return run(l1, l2, l3, *x, harmonics, *w, *out, senders, order, start, nodes, outputs, channels, stream);
}

// n factors, at most 15, of these degrees and powers; exact.
TELAMON_API int telamon_cuda_so3_monomial(int n, const int* degrees, const int* powers,
                                          const telamon::so3::array* factors, int lmax, const telamon::so3::array* out,
                                          int accumulate, std::size_t samples, std::size_t channels, void* stream) {
  using namespace telamon::so3;
  const auto run = out->type == storage::f64 ? monomial<double> : monomial<float>;
  return run(n, degrees, powers, factors, lmax, *out, accumulate != 0, samples, channels, stream);
}
}
