// telamon::kron, the compiled array API: products with Kronecker products of matrices, their eigen-decomposition, and
// what Gaussian processes on grids need of both. float and double.
//
// A grid tensor is a contiguous array (batch, n_1, ..., n_d, columns), last index fastest. K_1 (x) ... (x) K_d acts on
// n_1, ..., n_d. With Q_i and lambda_i the eigenvectors and eigenvalues of symmetric factors, K = Q diag(lambda) Q',
// where Q is the Kronecker product of the Q_i and lambda the outer product of the lambda_i: nothing of size N^2 arises.
#pragma once

#include <telamon/core/config.hpp>
#include <telamon/core/span.hpp>

#include <cstddef>
#include <vector>

namespace telamon::kron {

// A matrix that someone else owns: entry (i, j) is data[i row + j column]. One of the steps should be 1. No data: the
// identity of rows = columns.
template <class T>
struct matrix {
  const T* data = nullptr;
  std::size_t rows = 0, columns = 0;
  std::ptrdiff_t row = 0, column = 1;
};

// out (batch, m_1, ..., m_d, columns) = (A_1 (x) ... (x) A_d) x, for x (batch, n_1, ..., n_d, columns) and A_i of
// m_i rows and n_i columns. 2 N sum n_i flops for square factors; rectangular ones are taken in the cheapest order, and
// tiny neighbours are multiplied out first. out may be x where all factors are square; it must not overlap it
// otherwise. Beyond out it needs some hundred kilobytes a thread, and with rectangular factors one array of the largest
// intermediate size. Factors of more than 200 rows go through BLAS.
TELAMON_API void matmul(span<const matrix<float>> factors, const float* x, float* out, std::size_t batch = 1,
                        std::size_t columns = 1);
TELAMON_API void matmul(span<const matrix<double>> factors, const double* x, double* out, std::size_t batch = 1,
                        std::size_t columns = 1);

// out (m, n), row by row: out[j, k] = sum over all other indices of x[.., j, ..] y[.., k, ..] prod_{i != axis}
// scales[i][index i]. x (batch, shape, columns); y has n instead of m on the axis. y null: y = x, n = m. scales: one
// array an axis (that of `axis` is not read), or none.
TELAMON_API void gram(span<const std::size_t> shape, std::size_t axis, const float* x, const float* y, std::size_t n,
                      span<const float* const> scales, float* out, std::size_t batch = 1, std::size_t columns = 1);
TELAMON_API void gram(span<const std::size_t> shape, std::size_t axis, const double* x, const double* y, std::size_t n,
                      span<const double* const> scales, double* out, std::size_t batch = 1, std::size_t columns = 1);

// Sums over the spectrum lambda of K + noise I, in double.
struct spectral_sums {
  double quadratic = 0;  // sum of b^2/(lambda + noise), over batch and columns too
  double logdet = 0;     // sum of log(lambda + noise)
  double trace = 0;      // sum of 1/(lambda + noise)
};

// One pass over the spectrum: out = b/(lambda + noise), and the sums. b (batch, n_1, ..., n_d, columns) or null; out
// null, or such an array, which may be b. weights: none, or one array of n_i for each axis,
// weights[i][k] = sum over index i = k of (product of the other axes' eigenvalues)/(lambda + noise).
TELAMON_API spectral_sums spectral(span<const span<const float>> eigenvalues, double noise, const float* b, float* out,
                                   span<double* const> weights, std::size_t batch = 1, std::size_t columns = 1);
TELAMON_API spectral_sums spectral(span<const span<const double>> eigenvalues, double noise, const double* b,
                                   double* out, span<double* const> weights, std::size_t batch = 1,
                                   std::size_t columns = 1);

// a (n, n) symmetric = q diag(w) q', w ascending, eigenvectors in the columns of q; q may be a. LAPACK's syevd, which
// reads one triangle. Throws std::invalid_argument for a nan or an infinity, std::runtime_error where the iteration
// does not converge.
TELAMON_API void eigh(std::size_t n, const float* a, float* w, float* q);
TELAMON_API void eigh(std::size_t n, const double* a, double* w, double* q);

// The same for the symmetric Toeplitz matrix with a[i, j] = column[|i - j|]: its eigenvectors are even or odd, so two
// problems of half the size give them.
TELAMON_API void eigh_toeplitz(std::size_t n, const float* column, float* w, float* q);
TELAMON_API void eigh_toeplitz(std::size_t n, const double* column, double* w, double* q);

// A covariance matrix of a process in state space, such as a Matern of half-integer order on sorted points:
// K_ij = h' A_i A_{i-1} ... A_{j+1} P h for i >= j, symmetric. Everything takes O(n m^2) a vector.
template <class T>
struct state_space {
  std::size_t points = 0, states = 0;  // n and m, m at most 8
  const T* transitions = nullptr;      // (n, m, m): A_i, from point i - 1 to point i; A_0 is not read
  const T* covariance = nullptr;       // (m, m): P
  const T* measurement = nullptr;      // (m): h
};

// out (left, n, right) = K x along the middle axis; out may be x.
TELAMON_API void state_space_matmul(const state_space<float>& k, const float* x, float* out, std::size_t left,
                                    std::size_t right);
TELAMON_API void state_space_matmul(const state_space<double>& k, const double* x, double* out, std::size_t left,
                                    std::size_t right);

// K + diag(noise) = L diag(d) L' with L unit lower triangular: d (n), and w (n, m), from which L is made. A d that is
// not positive says that the matrix is not positive definite.
TELAMON_API void state_space_factor(const state_space<float>& k, const float* noise, float* d, float* w);
TELAMON_API void state_space_factor(const state_space<double>& k, const double* noise, double* d, double* w);

// full: (L D L')^-1 x. lower: L^-1 x. sqrt: L D^{1/2} x, which turns white noise into a sample.
enum class state_space_part : int { full, lower, sqrt };
TELAMON_API void state_space_solve(const state_space<float>& k, const float* d, const float* w, const float* x,
                                   float* out, std::size_t left, std::size_t right,
                                   state_space_part part = state_space_part::full);
TELAMON_API void state_space_solve(const state_space<double>& k, const double* d, const double* w, const double* x,
                                   double* out, std::size_t left, std::size_t right,
                                   state_space_part part = state_space_part::full);

}  // namespace telamon::kron
