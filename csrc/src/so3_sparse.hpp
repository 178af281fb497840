// The product by its nonzero coefficients one by one.
#pragma once

#include <telamon/so3.hpp>

namespace telamon::so3 {

// Up to this degree, of both factors and the result, it is the fastest way.
inline constexpr int sparse_until = 3;

template <class T>
void sparse_product(int l1, int l2, int l3, features<const T> x, features<const T> y, features<T> out, features<T> odd,
                    std::size_t samples, std::size_t channels, const product_options<T>& options);

}  // namespace telamon::so3
