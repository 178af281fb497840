// What the ways of computing a product of two have in common: the arrays, and the way of a tile from them and back.
#pragma once

#include <telamon/core/threads.hpp>

#include "so3_tables.hpp"
#include "so3_tiles.hpp"

namespace telamon::so3::tiles {

template <class T>
struct product_plan {
  int k1, k2, k3;  // components
  const tile_order *x_order, *y_order, *z_order;
  features<const T> x, y;
  features<T> out, odd;
  product_options<T> options;
  std::size_t channels, end;

  product_plan(const tile_order& first, const tile_order& second, const tile_order& third, features<const T> x_,
               features<const T> y_, features<T> out_, features<T> odd_, std::size_t samples, std::size_t channels_,
               const product_options<T>& options_)
      : k1(int(first.component.size())),
        k2(int(second.component.size())),
        k3(int(third.component.size())),
        x_order(&first),
        y_order(&second),
        z_order(&third),
        x(x_),
        y(y_),
        out(out_),
        odd(odd_),
        options(options_),
        channels(channels_),
        end(samples * channels_) {}

  std::size_t tile_count() const { return (end + lanes<T>::count - 1) / lanes<T>::count; }
  // In vectors, before what the kernel wants for itself.
  std::size_t tile_size() const { return std::size_t(k1) + std::size_t(k2) + 2 * std::size_t(k3); }
};

// kernel(x, y, z, odd, rest) sets z, and odd where Pair, from x and y; rest is its own memory.
template <bool Pair, class T, class Kernel>
TELAMON_INLINE void on_tiles(const product_plan<T>& plan, vector<T>* memory, std::size_t begin, std::size_t end,
                             Kernel kernel) {
  vector<T>*x = memory, *y = x + plan.k1, *z = y + plan.k2, *odd = z + plan.k3, *rest = odd + plan.k3;
  const int* z_component = plan.z_order->component.data();
  columns at(begin * lanes<T>::count, plan.end, plan.channels);
  for (std::size_t tile = begin; tile < end; ++tile, at.advance(lanes<T>::count)) {
    gather(plan.x, at, plan.x_order->component.data(), plan.k1, x);
    gather(plan.y, at, plan.y_order->component.data(), plan.k2, y);
    weigh(plan.options.x, at, plan.x_order->degree.data(), plan.k1, x);
    weigh(plan.options.y, at, plan.y_order->degree.data(), plan.k2, y);
    kernel(x, y, z, odd, rest);
    weigh(plan.options.out, at, plan.z_order->degree.data(), plan.k3, z);
    scatter(z, z_component, plan.k3, plan.out, at, plan.options.accumulate);
    if (Pair) {
      weigh(plan.options.out, at, plan.z_order->degree.data(), plan.k3, odd);
      scatter(odd, z_component, plan.k3, plan.odd, at, plan.options.accumulate);
    }
  }
}

// run(memory, begin, end) over all tiles, `rest` vectors of memory for the kernel.
template <class T, class Run>
void share_tiles(const product_plan<T>& plan, std::size_t rest, double nanoseconds, Run run) {
  parallel_for(plan.tile_count(), tile_grain(nanoseconds), [&](std::size_t begin, std::size_t end) {
    const scratch<T> memory(plan.tile_size() + rest);
    run(memory.data(), begin, end);
  });
}

}  // namespace telamon::so3::tiles
