// Rotation matrices of many samples, side by side and in double for either type of array, and their application with
// the channels side by side.
#include "so3_tiles.hpp"

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>
#include <telamon/so3/wigner.hpp>

#include "multiversion.hpp"
#include "so3_ways.hpp"

#include <algorithm>
#include <vector>

namespace telamon::so3 {
namespace {

// ---- the matrices

constexpr int together = 8;  // rotations side by side; everything below holds each entry so many times

// next = D^l from before = D^(l-1). sums: room for 3 (2l - 1) entries.
template <class A>
TELAMON_INLINE void next_degree(int l, const detail::wigner_terms<double>* terms, const double* r, const double* before,
                                double* next, double* sums) {
  using terms_type = detail::wigner_terms<double>;
  const int inner = 2 * l - 1, size = 2 * l + 1;
  for (int m = 0; m < size; ++m) {
    const terms_type& row = terms[m];
    const double* from[terms_type::count];
    alignas(64) double c[3][terms_type::count][together];  // c_t(m) R(i_t, j)
    for (int t = 0; t < terms_type::count; ++t) {
      from[t] = before + (row.a[t] + l - 1) * inner * together;
      for (int j = 0; j < 3; ++j)
        for (int i = 0; i < together; ++i) c[j][t][i] = row.c[t] * r[(3 * (row.i[t] + 1) + j) * together + i];
    }
    for (int j = 0; j < 3; ++j) {
      double* const to = sums + j * inner * together;
      for (int b = 0; b < inner * together; b += together) {
        TELAMON_SIMD
        for (int i = 0; i < together; ++i) {
          double sum = c[j][0][i] * from[0][b + i];
          sum = num::mad<A>(c[j][1][i], from[1][b + i], sum);
          sum = num::mad<A>(c[j][2][i], from[2][b + i], sum);
          sum = num::mad<A>(c[j][3][i], from[3][b + i], sum);
          to[b + i] = num::mad<A>(c[j][4][i], from[4][b + i], sum);
        }
      }
    }
    for (int n = 0; n < size; ++n) {
      const terms_type& column = terms[n];
      const double* s[terms_type::count];
      for (int t = 0; t < terms_type::count; ++t)
        s[t] = sums + ((column.i[t] + 1) * inner + column.a[t] + l - 1) * together;
      TELAMON_SIMD
      for (int i = 0; i < together; ++i) {
        double sum = column.c[0] * s[0][i];
        sum = num::mad<A>(column.c[1], s[1][i], sum);
        sum = num::mad<A>(column.c[2], s[2][i], sum);
        sum = num::mad<A>(column.c[3], s[3][i], sum);
        next[i] = num::mad<A>(column.c[4], s[4][i], sum);
      }
      next += together;
    }
  }
}

TELAMON_MULTIVERSION(next_degree_of_all,
                     (int l, const detail::wigner_terms<double>* terms, const double* r, const double* before,
                      double* next, double* sums),
                     { next_degree<arch>(l, terms, r, before, next, sums); })

TELAMON_MULTIVERSION(orthogonalize_all, (double* r), {
  TELAMON_SIMD
  for (int i = 0; i < together; ++i) {
    double one[9];
    for (int k = 0; k < 9; ++k) one[k] = r[k * together + i];
    detail::orthogonalize<arch>(one);
    for (int k = 0; k < 9; ++k) r[k * together + i] = one[k];
  }
})

// The matrices of a few rotations, one degree after the other.
class rotation_matrices {
 public:
  explicit rotation_matrices(int lmax) : terms_(order(lmax)), sums_(3 * together * order(lmax)) {
    for (auto& d : d_) d.resize(together * order(lmax) * order(lmax));
  }

  // Begins at degree 0 with the rotations that get(0), ..., get(n - 1) point to; the others repeat the last.
  template <class Get>
  void start(int n, Get get) {
    for (int i = 0; i < together; ++i)
      for (int k = 0; k < 9; ++k) r_[k * together + i] = double(get(std::min(i, n - 1))[k]);
    orthogonalize_all(r_), orthogonalize_all(r_);  // from 1e-4 to 1e-8, to rounding
    l_ = 0;
    std::fill_n(d_[0].begin(), together, 1.0);
  }

  void next() {
    ++l_;
    if (l_ == 1) {
      std::copy_n(r_, 9 * together, d_[1].begin());
      return;
    }
    for (int m = -l_; m <= l_; ++m) terms_[std::size_t(m + l_)] = detail::make_wigner_terms<double>(l_, m);
    next_degree_of_all(l_, terms_.data(), r_, d_[(l_ - 1) % 2].data(), d_[l_ % 2].data(), sums_.data());
  }

  // Copies the matrix of rotation i, or its transpose.
  template <class T>
  void get(int i, bool transposed, T* out) const {
    const int size = 2 * l_ + 1;
    const double* const d = d_[l_ % 2].data() + i;
    if (transposed) {
      for (int n = 0; n < size; ++n)
        for (int m = 0; m < size; ++m) *out++ = T(d[(m * size + n) * together]);
    } else {
      for (int k = 0; k < size * size; ++k) out[k] = T(d[k * together]);
    }
  }

 private:
  static std::size_t order(int lmax) { return 2 * std::size_t(lmax) + 1; }

  int l_ = 0;
  double r_[9 * together];
  std::vector<detail::wigner_terms<double>> terms_;
  std::vector<double> d_[2], sums_;
};

// ---- their application

using namespace tiles;

// One degree of some samples that have the same matrix. Channels that lie side by side are read and written in place,
// others and the last few by way of a packed copy.
template <class T>
struct rotation_job {
  int size;
  const T* matrix;
  features<const T> x;
  features<T> out;
  std::ptrdiff_t samples, channels;
  T *packed_x, *packed_out;  // each 2 * size vectors
};

template <int Columns, class T>
TELAMON_INLINE void rotate_columns(const rotation_job<T>& job, features<const T> x, features<T> out,
                                   std::ptrdiff_t channels) {
  constexpr std::ptrdiff_t width = Columns * lanes<T>::count;
  const bool whole = channels == width, packs_x = !whole || x.channel != 1, packs_out = !whole || out.channel != 1;
  if (packs_x) {
    for (int n = 0; n < job.size; ++n)
      for (std::ptrdiff_t c = 0; c < width; ++c)
        job.packed_x[n * width + c] = c < channels ? x.data[n * x.component + c * x.channel] : T(0);
    x = {job.packed_x, 0, width, 1};
  }
  const features<T> to = packs_out ? features<T>{job.packed_out, 0, width, 1} : out;
  constexpr int count = lanes<T>::count;
  apply_matrix<Columns>(
      job.matrix, job.size, 1, job.size,
      [&](int n, int c) TELAMON_INLINE_LAMBDA { return load(x.data + n * x.component + c * count); },
      [&](int m, int c, const vector<T>& v)
          TELAMON_INLINE_LAMBDA { store(v, to.data + m * to.component + c * count); });
  if (packs_out)
    for (int m = 0; m < job.size; ++m)
      for (std::ptrdiff_t c = 0; c < channels; ++c)
        out.data[m * out.component + c * out.channel] = job.packed_out[m * width + c];
}

TELAMON_MULTIVERSION_TEMPLATE(rotate_degree, (class T), (const rotation_job<T>& job), {
  constexpr std::ptrdiff_t width = lanes<T>::count;
  for (std::ptrdiff_t s = 0; s < job.samples; ++s) {
    features<const T> x = job.x;
    features<T> out = job.out;
    x.data += s * x.sample, out.data += s * out.sample;
    std::ptrdiff_t left = job.channels;
    for (; left > width; left -= 2 * width) {
      rotate_columns<2>(job, x, out, std::min(left, 2 * width));
      x.data += 2 * width * x.channel, out.data += 2 * width * out.channel;
    }
    if (left > 0) rotate_columns<1>(job, x, out, left);
  }
})

// Below about this many operations a second thread costs more than it saves.
constexpr std::size_t grain = 65536;

std::size_t samples_of_grain(std::size_t operations) { return std::max<std::size_t>(1, grain / operations); }

template <class T>
void wigner(int l, const T* rotations, T* out, std::size_t samples) {
  require(l >= 0, "so3.wigner_d: l is ", l, "; it must be at least 0");
  const std::size_t size = std::size_t(2 * l + 1) * std::size_t(2 * l + 1);
  const std::size_t blocks = (samples + together - 1) / together;
  parallel_for(blocks, samples_of_grain(size * std::size_t(l + 1) * together), [&](std::size_t begin, std::size_t end) {
    rotation_matrices d(l);
    for (std::size_t start = begin * together; start < std::min(samples, end * together); start += together) {
      const int n = int(std::min<std::size_t>(together, samples - start));
      d.start(n, [&](int i) { return rotations + 9 * (start + std::size_t(i)); });
      for (int k = 0; k < l; ++k) d.next();
      for (int i = 0; i < n; ++i) d.get(i, false, out + (start + std::size_t(i)) * size);
    }
  });
}

// Samples that follow each other with the same rotation, as those of one graph do, share its matrices.
template <class T>
void rotate_all(int lmax, const T* rotations, bool transposed, features<const T> x, features<T> out,
                std::size_t samples, std::size_t channels) {
  require(lmax >= 0, "so3.rotate: lmax is ", lmax, "; it must be at least 0");
  if (channels == 0) return;
  const std::size_t size = 2 * std::size_t(lmax) + 1;
  const auto operations = std::size_t(components(lmax)) * size * (channels + 8);
  parallel_for(samples, samples_of_grain(operations), [&](std::size_t begin, std::size_t end) {
    rotation_matrices d(lmax);
    std::vector<T> matrix(size * size), packed(4 * size * lanes<T>::count);
    std::size_t start[together + 1];  // of each run of equal rotations
    for (start[0] = begin; start[0] < end;) {
      int runs = 0;
      while (runs < together && start[runs] < end) {
        const T* const first = rotations + 9 * start[runs];
        std::size_t next = start[runs] + 1;
        while (next < end && std::memcmp(rotations + 9 * next, first, 9 * sizeof(T)) == 0) ++next;
        start[++runs] = next;
      }
      d.start(runs, [&](int i) { return rotations + 9 * start[i]; });
      for (int l = 0; l <= lmax; ++l) {
        if (l > 0) d.next();
        for (int i = 0; i < runs; ++i) {
          d.get(i, transposed, matrix.data());
          const auto s = std::ptrdiff_t(start[i]), block = std::ptrdiff_t(l) * l;
          rotate_degree<T>::run(
              {2 * l + 1,
               matrix.data(),
               {x.data + s * x.sample + block * x.component, x.sample, x.component, x.channel},
               {out.data + s * out.sample + block * out.component, out.sample, out.component, out.channel},
               std::ptrdiff_t(start[i + 1]) - s,
               std::ptrdiff_t(channels),
               packed.data(),
               packed.data() + 2 * size * lanes<T>::count});
        }
      }
      start[0] = start[runs];
    }
  });
}

}  // namespace

template <class T>
void all_wigner_d(int lmax, const T* rotations, T* out, std::size_t samples) {
  const std::size_t size = std::size_t(wigner_size(lmax));
  rotation_matrices d(lmax);
  for (std::size_t start = 0; start < samples; start += together) {
    const int n = int(std::min<std::size_t>(together, samples - start));
    d.start(n, [&](int i) { return rotations + 9 * (start + std::size_t(i)); });
    for (int l = 0; l <= lmax; ++l) {
      if (l > 0) d.next();
      for (int i = 0; i < n; ++i) d.get(i, false, out + (start + std::size_t(i)) * size + wigner_size(l - 1));
    }
  }
}
template void all_wigner_d(int, const float*, float*, std::size_t);
template void all_wigner_d(int, const double*, double*, std::size_t);

void wigner_d(int l, const float* rotations, float* out, std::size_t samples) { wigner(l, rotations, out, samples); }
void wigner_d(int l, const double* rotations, double* out, std::size_t samples) { wigner(l, rotations, out, samples); }

void rotate(int lmax, const float* rotations, bool transposed, features<const float> x, features<float> out,
            std::size_t samples, std::size_t channels) {
  rotate_all(lmax, rotations, transposed, x, out, samples, channels);
}
void rotate(int lmax, const double* rotations, bool transposed, features<const double> x, features<double> out,
            std::size_t samples, std::size_t channels) {
  rotate_all(lmax, rotations, transposed, x, out, samples, channels);
}

}  // namespace telamon::so3
