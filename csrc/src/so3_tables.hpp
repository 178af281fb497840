// The tables of the products: made in double on first use, rounded once, and kept for the life of the process.
#pragma once

#include <telamon/so3/fourier.hpp>
#include <telamon/so3/parallels.hpp>

#include <vector>

namespace telamon::so3::tiles {

// The coefficients' order inside a tile: the component and the degree of each.
struct tile_order {
  std::vector<int> component, degree;
};
const tile_order& order_of(int lmax);          // as the grid's kernels have them
const tile_order& natural_order_of(int lmax);  // as arrays have them

// Degree lmax on the `nodes` Gauss-Legendre parallels.
template <class T>
const detail::parallels<T>& parallels_of(int lmax, int nodes);

// The plan for transforms of length n.
template <class T>
const detail::fft_plan<T>& fft_of(int n);

// The change of basis to Fourier coefficients, and back from those up to `highest`.
template <class T>
const detail::fourier_basis<T>& to_fourier(int lmax);
template <class T>
const detail::fourier_basis<T>& from_fourier(int lmax, int highest);

using detail::nodes_for;

}  // namespace telamon::so3::tiles
