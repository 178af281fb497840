// The routines of BLAS and LAPACK that telamon calls, for row-major matrices and both precisions.
//
// On the caller's thread only, never inside parallel_for: the library has threads of its own, as many as
// get_num_threads() says where it can be told.
#pragma once

#include <cstddef>

namespace telamon::blas {

// c (m, n) = alpha op(a) op(b) + beta c, op(a) (m, k) and op(b) (k, n); transposed where the flag says so. Steps of
// rows in elements. Sizes are below 2^31.
void gemm(bool a_transposed, bool b_transposed, std::size_t m, std::size_t n, std::size_t k, float alpha,
          const float* a, std::size_t a_row, const float* b, std::size_t b_row, float beta, float* c,
          std::size_t c_row);
void gemm(bool a_transposed, bool b_transposed, std::size_t m, std::size_t n, std::size_t k, double alpha,
          const double* a, std::size_t a_row, const double* b, std::size_t b_row, double beta, double* c,
          std::size_t c_row);

// The upper triangle of c (n, n) = op(a) op(a)' + c, op(a) (n, k).
void syrk(bool a_transposed, std::size_t n, std::size_t k, const float* a, std::size_t a_row, float* c,
          std::size_t c_row);
void syrk(bool a_transposed, std::size_t n, std::size_t k, const double* a, std::size_t a_row, double* c,
          std::size_t c_row);

// Eigenvalues, ascending, of the symmetric a (n, n), whose rows become the eigenvectors. Throws
// std::invalid_argument for a nan or an infinity, std::runtime_error where the iteration fails.
void eigh(std::size_t n, float* a, float* w);
void eigh(std::size_t n, double* a, double* w);

}  // namespace telamon::blas
