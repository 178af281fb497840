// The thread pool behind the array API.
//
// Our own, because libgomp's hangs in a forked child and stalls for milliseconds on a loaded machine. Threads start at
// the first parallel call that is long enough to want them. The count is TELAMON_NUM_THREADS, else OMP_NUM_THREADS
// (which dask and joblib set in their workers), else the processors this process may run on.
#pragma once

#include <telamon/core/config.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace telamon {

// Throws std::invalid_argument when n < 1. Holds for the whole process, from the next parallel call on.
TELAMON_API void set_num_threads(int n);

// Throws std::invalid_argument when TELAMON_NUM_THREADS is not a positive integer.
TELAMON_API int get_num_threads();

namespace detail {
using range_function = void (*)(void* context, std::size_t begin, std::size_t end);
TELAMON_API void parallel_run(std::size_t n, std::size_t grain, range_function f, void* context);
}  // namespace detail

// Calls f(begin, end) on disjoint ranges that cover [0, n), each at least `grain` long except the last. With n <= grain
// that is a plain call of f(0, n). Nested calls, and calls while another thread has the pool, run on the caller alone,
// so that they can neither deadlock nor oversubscribe. The first exception that f throws is rethrown here.
template <class F>
void parallel_for(std::size_t n, std::size_t grain, F&& f) {
  if (n == 0) return;
  if (n <= grain) return static_cast<void>(f(std::size_t{0}, n));
  using function = std::remove_reference_t<F>;
  detail::parallel_run(
      n, grain,
      [](void* context, std::size_t begin, std::size_t end) { (*static_cast<function*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

}  // namespace telamon
