// telamon::so3, the compiled array API: products of functions on the sphere given by spherical-harmonic coefficients
// (Gaunt tensor products), spherical harmonics and rotations. float and double.
//
// Real spherical harmonics in e3nn's convention: y is the polar axis, theta = acos y, phi = atan2(x, z); component
// l^2 + l + m; no Condon-Shortley phase; "component" normalisation, the mean square of each Y_lm over the sphere is 1.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/span.hpp>

#include <cstddef>
#include <type_traits>

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

// out = |r|^l Y_lm(r/|r|) for l = 0..lmax: polynomials in r (samples, 3), so finite everywhere.
TELAMON_API void solid_harmonics(int lmax, vectors<const float> r, vectors<float> out, std::size_t samples);
TELAMON_API void solid_harmonics(int lmax, vectors<const double> r, vectors<double> out, std::size_t samples);

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
