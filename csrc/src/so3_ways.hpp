// The ways of computing a product of two; so3.cpp checks the arguments and chooses.
#pragma once

#include <telamon/so3.hpp>

#include "so3_plan.hpp"

namespace telamon::so3 {

// Up to this degree sparse is the fastest way, even by a table; where there is straight-line code, for equal degrees,
// up to the last that has it.
inline constexpr int sparse_until = 3;

// The nonzero coefficients one by one.
template <class T>
void sparse_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                    std::size_t samples, std::size_t channels, const product_options<T>& options);

// Convolutions of Fourier coefficients on Gauss-Legendre parallels. For some degrees L, L -> L the even product has
// code of its own, where the compiler knows L: true where it ran.
template <class T>
bool run_fixed_grid(const tiles::product_plan<T>& plan, const detail::product_tables<T>& tables);
template <class T>
void grid_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                  std::size_t samples, std::size_t channels, const product_options<T>& options);

// Convolutions of Fourier coefficients in both angles; kind::even only.
template <class T>
void fourier_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out,
                     std::size_t samples, std::size_t channels, const product_options<T>& options);

// The matrices of all degrees 0..lmax, side by side for each rotation, on this thread.
constexpr std::ptrdiff_t wigner_size(int lmax) {  // sum of (2l + 1)^2
  return std::ptrdiff_t(lmax + 1) * (2 * lmax + 1) * (2 * lmax + 3) / 3;
}
template <class T>
void all_wigner_d(int lmax, const T* rotations, T* out, std::size_t samples);

}  // namespace telamon::so3
