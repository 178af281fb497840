// How products run over arrays: in tiles of as many (sample, channel) pairs as one SIMD vector holds, channels fastest.
// A tile is brought into the order of the kernel, computed in the first level of cache and written out again.
#pragma once

#include <telamon/so3.hpp>

#include "simd.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace telamon::so3::tiles {

using simd::lanes, simd::load, simd::scratch, simd::store, simd::vector;

// The (sample, channel) pairs of a tile, from one on.
struct columns {
  std::size_t sample, channel, channels, left;  // left: how many there are from here to the last of all

  columns(std::size_t first, std::size_t end, std::size_t channels_)
      : sample(first / channels_), channel(first % channels_), channels(channels_), left(end - first) {}
  void advance(std::size_t count) {
    channel += count, left -= count < left ? count : left;
    while (channel >= channels) channel -= channels, ++sample;
  }
  template <class T>
  T* address(const features<T>& f) const {
    return f.data + std::ptrdiff_t(sample) * f.sample + std::ptrdiff_t(channel) * f.channel;
  }
  // Whether a vector of channels of one sample starts here.
  bool one_sample(int count) const { return channel + std::size_t(count) <= channels; }
};

// The address of each lane's component 0. The lanes after the last column repeat it.
template <class T>
struct lane_pointers {
  T* at[lanes<T>::count];
  int used;

  TELAMON_INLINE lane_pointers(const features<T>& f, columns c) {
    constexpr int count = lanes<T>::count;
    used = c.left < std::size_t(count) ? int(c.left) : count;
    for (int i = 0; i < used; ++i, c.advance(1)) at[i] = c.address(f);
    for (int i = used; i < count; ++i) at[i] = at[used - 1];
  }
};

// to[s] = component order[s] of the tile's columns.
template <class T>
TELAMON_INLINE void gather(const features<const T>& f, const columns& c, const int* order, int n, vector<T>* to) {
  const bool one = c.one_sample(lanes<T>::count);
  const T* const start = c.address(f);
  if (one && f.channel == 1) {
    for (int s = 0; s < n; ++s) to[s] = load(start + order[s] * f.component);
  } else if (one && f.channel == 0) {
    for (int s = 0; s < n; ++s) to[s] = vector<T>{} + start[order[s] * f.component];
  } else {
    const lane_pointers<const T> lane(f, c);
    for (int s = 0; s < n; ++s) {
      const std::ptrdiff_t offset = order[s] * f.component;
      for (int i = 0; i < lanes<T>::count; ++i) to[s][i] = lane.at[i][offset];
    }
  }
}

template <class T>
TELAMON_INLINE void scatter(const vector<T>* from, const int* order, int n, const features<T>& f, const columns& c,
                            bool accumulate) {
  if (c.one_sample(lanes<T>::count) && f.channel == 1) {
    T* const start = c.address(f);
    for (int s = 0; s < n; ++s) {
      T* to = start + order[s] * f.component;
      store(accumulate ? from[s] + load(to) : from[s], to);
    }
  } else {
    const lane_pointers<T> lane(f, c);
    for (int s = 0; s < n; ++s) {
      const std::ptrdiff_t offset = order[s] * f.component;
      for (int i = 0; i < lane.used; ++i) {
        T& to = lane.at[i][offset];
        to = accumulate ? to + from[s][i] : from[s][i];
      }
    }
  }
}

// x[s] *= the weight of the degree of component s, where there are any.
template <class T>
TELAMON_INLINE void weigh(const degree_weights<T>& w, const columns& c, const int* degree, int n, vector<T>* x) {
  if (w.data == nullptr) return;
  const lane_pointers<const T> lane(features<const T>(w.data, 0, w.degree, w.channel), c);
  for (int s = 0; s < n; ++s) {
    const std::ptrdiff_t offset = degree[s] * w.degree;
    for (int i = 0; i < lanes<T>::count; ++i) x[s][i] *= lane.at[i][offset];
  }
}

// Divides x by the power of two of the largest number in each lane, and returns it: where one transform serves two
// functions, as its real and its imaginary part, they must be of one size.
template <class T>
TELAMON_INLINE vector<T> normalize(vector<T>* x, int n) {
  vector<T> size;
  for (int i = 0; i < lanes<T>::count; ++i) {
    T largest = 0;
    for (int k = 0; k < n; ++k) largest = std::max(largest, std::abs(x[k][i]));
    const bool usual = largest >= std::numeric_limits<T>::min() && largest <= std::numeric_limits<T>::max();
    size[i] = usual ? std::ldexp(T(1), std::ilogb(largest)) : T(1);
  }
  for (int k = 0; k < n; ++k) x[k] /= size;
  return size;
}

// put(m, c, number m of D x) for the square matrix D, whose entries are `row` and `column` apart (exchanged, they make
// the transpose), and Columns vectors c of channels; x(n, c) loads. Four rows at a time share what they load.
template <int Rows, int Columns, class T, class X, class Put>
TELAMON_INLINE void apply_rows(const T* d, std::ptrdiff_t row, std::ptrdiff_t column, int size, int first, X x,
                               Put put) {
  vector<T> sum[Rows][Columns] = {};
  d += first * row;
  for (int n = 0; n < size; ++n) {
    TELAMON_UNROLL
    for (int c = 0; c < Columns; ++c) {
      const vector<T> v = x(n, c);
      TELAMON_UNROLL
      for (int m = 0; m < Rows; ++m) sum[m][c] += d[m * row + n * column] * v;
    }
  }
  TELAMON_UNROLL
  for (int m = 0; m < Rows; ++m) {
    TELAMON_UNROLL
    for (int c = 0; c < Columns; ++c) put(first + m, c, sum[m][c]);
  }
}
template <int Columns, class T, class X, class Put>
TELAMON_INLINE void apply_matrix(const T* d, std::ptrdiff_t row, std::ptrdiff_t column, int size, X x, Put put) {
  int m = 0;
  for (; m + 4 <= size; m += 4) apply_rows<4, Columns>(d, row, column, size, m, x, put);
  if (size - m == 1)  // sizes are odd: one row is left, or three
    apply_rows<1, Columns>(d, row, column, size, m, x, put);
  else
    apply_rows<3, Columns>(d, row, column, size, m, x, put);
}

// What a tile costs, roughly, in nanoseconds; parallel_for wants to know how many are worth a thread.
inline std::size_t tile_grain(double nanoseconds) {
  return std::size_t(20000 / (nanoseconds < 20000 ? nanoseconds : 20000)) + 1;
}

}  // namespace telamon::so3::tiles
