// Covariances in state space along an axis, a vector of right-hand sides at a time.
#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/kron/state_space.hpp>

#include "kron_axis.hpp"

#include <limits>

namespace telamon::kron {
namespace {

using namespace detail;

enum class task { multiply, full, lower, sqrt };

template <class T>
process<T> checked(const state_space<T>& k) {
  require(k.states >= 1 && k.states <= std::size_t(max_states), "kron.state_space: there are ", k.states,
          " states; pass 1 to ", max_states);
  require(k.points <= std::size_t(std::numeric_limits<int>::max()), "kron.state_space: there are ", k.points,
          " points; pass at most 2147483647");
  return {int(k.points), int(k.states), k.transitions, k.covariance, k.measurement};
}

// A panel of columns, as many as two vectors hold: `memory` holds two panels of n.
TELAMON_MULTIVERSION_TEMPLATE(panel_loop, (class T),
                              (const process<T>& k, task what, const T* d, const T* w, const T* x, T* out,
                               std::size_t right, std::size_t first, std::size_t last, T* memory),
                              {
                                typedef T pair __attribute__((vector_size(64)));
                                static_assert(sizeof(pair) == panel<T> * sizeof(T), "a panel is one value");
                                const std::size_t n = std::size_t(k.points);
                                for (; first < last; first += panel<T>) {
                                  const panel_columns<T> c(first, last, n, n, right);
                                  pack_panel(x, c, n, right, memory);
                                  pair* const y = reinterpret_cast<pair*>(memory);
                                  switch (what) {
                                    case task::multiply:
                                      multiply(k, static_cast<const pair*>(y), y, y + n);
                                      break;
                                    case task::sqrt:
                                      forward<true>(k, d, w, static_cast<const pair*>(y), y);
                                      break;
                                    default:
                                      forward<false>(k, d, w, static_cast<const pair*>(y), y);
                                      if (what == task::full) backward(k, d, w, y);
                                  }
                                  for (std::size_t i = 0; i < n; ++i) {
                                    for (std::size_t j = 0; j < c.count; ++j)
                                      out[c.out[j] + i * right] = memory[i * panel<T> + j];
                                  }
                                }
                              })

template <class T>
void run(const state_space<T>& k, task what, const T* d, const T* w, const T* x, T* out, std::size_t left,
         std::size_t right) {
  const process<T> p = checked(k);
  const std::size_t lines = left * right, panels = (lines + panel<T> - 1) / panel<T>;
  const std::size_t grain = 100000 / (k.points * k.states * k.states * 8 + 1) + 1;
  if (k.points == 0) return;
  parallel_for(panels, grain, [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(2 * k.points * panel<T> / lanes<T>::count);
    panel_loop<T>::run(p, what, d, w, x, out, right, begin * panel<T>, std::min(lines, end * panel<T>),
                       reinterpret_cast<T*>(memory.data()));
  });
}

task task_of(state_space_part part) {
  switch (part) {
    case state_space_part::lower:
      return task::lower;
    case state_space_part::sqrt:
      return task::sqrt;
    default:
      return task::full;
  }
}

}  // namespace

void state_space_matmul(const state_space<float>& k, const float* x, float* out, std::size_t left, std::size_t right) {
  run<float>(k, task::multiply, nullptr, nullptr, x, out, left, right);
}
void state_space_matmul(const state_space<double>& k, const double* x, double* out, std::size_t left,
                        std::size_t right) {
  run<double>(k, task::multiply, nullptr, nullptr, x, out, left, right);
}

void state_space_factor(const state_space<float>& k, const float* noise, float* d, float* w) {
  factor(checked(k), noise, d, w);
}
void state_space_factor(const state_space<double>& k, const double* noise, double* d, double* w) {
  factor(checked(k), noise, d, w);
}

void state_space_solve(const state_space<float>& k, const float* d, const float* w, const float* x, float* out,
                       std::size_t left, std::size_t right, state_space_part part) {
  run(k, task_of(part), d, w, x, out, left, right);
}
void state_space_solve(const state_space<double>& k, const double* d, const double* w, const double* x, double* out,
                       std::size_t left, std::size_t right, state_space_part part) {
  run(k, task_of(part), d, w, x, out, left, right);
}

}  // namespace telamon::kron
