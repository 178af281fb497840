// telamon::so3, the compiled array API: products of functions on the sphere given by spherical-harmonic coefficients
// (Gaunt tensor products), spherical harmonics and rotations. float and double.
//
// Real spherical harmonics in e3nn's convention: y is the polar axis, theta = acos y, phi = atan2(x, z); component
// l^2 + l + m; no Condon-Shortley phase; "component" normalisation, the mean square of each Y_lm over the sphere is 1.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/span.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace telamon::so3 {

// The number of components of degrees 0 to lmax.
constexpr int components(int lmax) noexcept { return (lmax + 1) * (lmax + 1); }

// An array (samples, components, channels) that someone else owns. Steps in elements; zero repeats, negative reverses.
template <class T>
struct features {
  T* data = nullptr;
  std::ptrdiff_t sample = 0, component = 0, channel = 0;

  constexpr features() noexcept = default;
  constexpr features(T* data_, std::ptrdiff_t sample_, std::ptrdiff_t component_, std::ptrdiff_t channel_) noexcept
      : data(data_), sample(sample_), component(component_), channel(channel_) {}
  template <class U, class = std::enable_if_t<std::is_convertible_v<U (*)[], T (*)[]>>>  // adding const only
  constexpr features(const features<U>& f) noexcept : features(f.data, f.sample, f.component, f.channel) {}
};

// An array (samples, components), as above.
template <class T>
struct vectors {
  T* data = nullptr;
  std::ptrdiff_t sample = 0, component = 1;
};

// How a product is computed. automatic: sparse for three equal degrees up to 4 and other ones up to 3, grid above.
//   sparse   the nonzero Gaunt coefficients one by one, O(L^5)
//   grid     Gauss-Legendre parallels, on each a convolution of Fourier coefficients, O(L^3)
//   fourier  two-dimensional Fourier coefficients, convolved by FFT, O(L^3), as in arXiv:2401.10216
enum class method : int { automatic, sparse, grid, fourier };

// even: the Gaunt product, the coefficients of the product of two functions. odd: those of their Poisson bracket,
// (f_theta g_phi - f_phi g_theta)/sin theta. sum: of both together. complete: of both apart.
enum class kind : int { even, odd, sum, complete };

// Factors on the coefficients of each degree: data[l * degree + c * channel]; none where data is null.
template <class T>
struct degree_weights {
  const T* data = nullptr;
  std::ptrdiff_t degree = 0, channel = 0;
};

template <class T>
struct product_options {
  kind which = kind::even;
  method how = method::automatic;
  bool accumulate = false;  // out += instead of out =
  degree_weights<T> x, y, out;
};

// out (samples, components(l3), channels) = the product of x and y; l3 <= l1 + l2, and any l3 for the bracket below
// that. `odd` is written for kind::complete only. Outputs must not overlap inputs.
TELAMON_API void gaunt_product(int l1, int l2, int l3, features<const float> x, features<const float> y,
                               features<float> out, features<float> odd, std::size_t samples, std::size_t channels,
                               const product_options<float>& options = {});
TELAMON_API void gaunt_product(int l1, int l2, int l3, features<const double> x, features<const double> y,
                               features<double> out, features<double> odd, std::size_t samples, std::size_t channels,
                               const product_options<double>& options = {});

// A power of one function in a product of several.
template <class T>
struct factor {
  int lmax = 0, power = 1;
  features<const T> x;
};

// out = the coefficients up to lmax of the product of all factors, exact. At most 16 factors.
TELAMON_API void gaunt_monomial(span<const factor<float>> factors, int lmax, features<float> out, bool accumulate,
                                std::size_t samples, std::size_t channels);
TELAMON_API void gaunt_monomial(span<const factor<double>> factors, int lmax, features<double> out, bool accumulate,
                                std::size_t samples, std::size_t channels);

// A nonzero coefficient: z_k += value x_i y_j, components counted from 0 inside each degree; "component" normalisation.
struct coefficient {
  int i, j, k;
  double value;
};
TELAMON_API std::vector<coefficient> coefficients(int l1, int l2, int l3, kind which = kind::even);

// Edges of a graph: out_e = x[sender_e] times the function with the coefficients w_e,l,c Y_lm(direction_e). Directions
// (edges, 3) have length 1. Without senders, edge e reads x_e; with receivers, out_r is the sum over the edges of r, in
// their order, and `outputs` their number; without, outputs is the number of edges.
template <class T>
struct edge_list {
  std::size_t edges = 0, outputs = 0;
  const std::int64_t *senders = nullptr, *receivers = nullptr;
  vectors<const T> directions;
  features<const T> weights;  // (edges, l2 + 1, channels)
};
TELAMON_API void gaunt_conv(int l1, int l2, int l3, features<const float> x, const edge_list<float>& edges,
                            features<float> out, std::size_t channels);
TELAMON_API void gaunt_conv(int l1, int l2, int l3, features<const double> x, const edge_list<double>& edges,
                            features<double> out, std::size_t channels);

// out = |r|^l Y_lm(r/|r|) for l = 0..lmax: polynomials in r (samples, 3), so finite everywhere.
TELAMON_API void solid_harmonics(int lmax, vectors<const float> r, vectors<float> out, std::size_t samples);
TELAMON_API void solid_harmonics(int lmax, vectors<const double> r, vectors<double> out, std::size_t samples);

// out = Y_lm(r/|r|), as accurate as if r/|r| were exact. At r = 0: degree 0 is 1, the others 0.
TELAMON_API void spherical_harmonics(int lmax, vectors<const float> r, vectors<float> out, std::size_t samples);
TELAMON_API void spherical_harmonics(int lmax, vectors<const double> r, vectors<double> out, std::size_t samples);

// D with Y_l(R r) = D Y_l(r), for contiguous orthogonal matrices R (samples, 3, 3) in the order x, y, z; out contiguous
// (samples, 2l+1, 2l+1). Improper R have the parity (-1)^l.
TELAMON_API void wigner_d(int l, const float* rotations, float* out, std::size_t samples);
TELAMON_API void wigner_d(int l, const double* rotations, double* out, std::size_t samples);

// out = D x for all degrees 0..lmax, or D^T x. One rotation a sample.
TELAMON_API void rotate(int lmax, const float* rotations, bool transposed, features<const float> x, features<float> out,
                        std::size_t samples, std::size_t channels);
TELAMON_API void rotate(int lmax, const double* rotations, bool transposed, features<const double> x,
                        features<double> out, std::size_t samples, std::size_t channels);

}  // namespace telamon::so3
