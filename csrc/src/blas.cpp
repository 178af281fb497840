#include "blas.hpp"

#include <telamon/core/error.hpp>
#include <telamon/core/threads.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

// Fortran's names. TELAMON_BLAS_PREFIX is what a build of OpenBLAS puts before its own, so that two of them do not mix.
#define TELAMON_JOIN_(a, b) a##b
#define TELAMON_JOIN(a, b) TELAMON_JOIN_(a, b)
#define TELAMON_BLAS_NAME(name) TELAMON_JOIN(TELAMON_BLAS_PREFIX, name)

extern "C" {
#define TELAMON_BLAS_DECLARE(T, p)                                                                                   \
  void TELAMON_BLAS_NAME(p##gemm_)(const char*, const char*, const int*, const int*, const int*, const T*, const T*, \
                                   const int*, const T*, const int*, const T*, T*, const int*);                      \
  void TELAMON_BLAS_NAME(p##syrk_)(const char*, const char*, const int*, const int*, const T*, const T*, const int*, \
                                   const T*, T*, const int*);                                                        \
  void TELAMON_BLAS_NAME(p##syevd_)(const char*, const char*, const int*, T*, const int*, T*, T*, const int*, int*,  \
                                    const int*, int*);
TELAMON_BLAS_DECLARE(float, s)
TELAMON_BLAS_DECLARE(double, d)
#ifdef TELAMON_BLAS_IS_OPENBLAS
void TELAMON_BLAS_NAME(openblas_set_num_threads)(int);
int TELAMON_BLAS_NAME(openblas_get_num_threads)();
#endif
}

namespace telamon::blas {
namespace {

void tell_threads() {
#ifdef TELAMON_BLAS_IS_OPENBLAS
  const int wanted = get_num_threads();
  if (TELAMON_BLAS_NAME(openblas_get_num_threads)() != wanted) TELAMON_BLAS_NAME(openblas_set_num_threads)(wanted);
#endif
}

int size(std::size_t n) {
  require(n <= std::size_t(std::numeric_limits<int>::max()), "kron: a matrix has ", n,
          " rows or columns; BLAS takes at most 2147483647");
  return static_cast<int>(n);
}

const char* flag(bool transposed) { return transposed ? "T" : "N"; }

// Row by row is the transpose of Fortran's column by column: c' = op(b)' op(a)'.
#define TELAMON_BLAS_DEFINE(T, p)                                                                               \
  void call_gemm(const char* ta, const char* tb, int m, int n, int k, T alpha, const T* a, int lda, const T* b, \
                 int ldb, T beta, T* c, int ldc) {                                                              \
    TELAMON_BLAS_NAME(p##gemm_)(ta, tb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc);                  \
  }                                                                                                             \
  void call_syrk(const char* trans, int n, int k, const T* a, int lda, T* c, int ldc) {                         \
    const T one = 1;                                                                                            \
    TELAMON_BLAS_NAME(p##syrk_)("L", trans, &n, &k, &one, a, &lda, &one, c, &ldc);                              \
  }                                                                                                             \
  int call_syevd(int n, T* a, T* w, T* work, int lwork, int* iwork, int liwork) {                               \
    int info = 0;                                                                                               \
    TELAMON_BLAS_NAME(p##syevd_)("V", "L", &n, a, &n, w, work, &lwork, iwork, &liwork, &info);                  \
    return info;                                                                                                \
  }
TELAMON_BLAS_DEFINE(float, s)
TELAMON_BLAS_DEFINE(double, d)

template <class T>
void any_eigh(std::size_t n, T* a, T* w) {
  if (n == 0) return;
  require(std::all_of(a, a + n * n, [](T v) { return std::isfinite(v); }),
          "kron.eigh: the matrix has a nan or an infinity; pass a finite one");
  tell_threads();
  T work_size = 0;
  int iwork_size = 0;
  call_syevd(size(n), a, w, &work_size, -1, &iwork_size, -1);
  // In float the size asked for may have been rounded down.
  std::vector<T> work(std::size_t(double(work_size) * (1 + 1e-6)) + 1);
  std::vector<int> iwork(std::size_t(iwork_size) + 1);
  const int info = call_syevd(size(n), a, w, work.data(), size(work.size()), iwork.data(), size(iwork.size()));
  if (info != 0) {
    throw std::runtime_error("kron.eigh: LAPACK's syevd did not converge (info " + std::to_string(info) + ")");
  }
}

}  // namespace

void gemm(bool a_transposed, bool b_transposed, std::size_t m, std::size_t n, std::size_t k, float alpha,
          const float* a, std::size_t a_row, const float* b, std::size_t b_row, float beta, float* c,
          std::size_t c_row) {
  tell_threads();
  call_gemm(flag(b_transposed), flag(a_transposed), size(n), size(m), size(k), alpha, b, size(b_row), a, size(a_row),
            beta, c, size(c_row));
}
void gemm(bool a_transposed, bool b_transposed, std::size_t m, std::size_t n, std::size_t k, double alpha,
          const double* a, std::size_t a_row, const double* b, std::size_t b_row, double beta, double* c,
          std::size_t c_row) {
  tell_threads();
  call_gemm(flag(b_transposed), flag(a_transposed), size(n), size(m), size(k), alpha, b, size(b_row), a, size(a_row),
            beta, c, size(c_row));
}

void syrk(bool a_transposed, std::size_t n, std::size_t k, const float* a, std::size_t a_row, float* c,
          std::size_t c_row) {
  tell_threads();
  call_syrk(flag(!a_transposed), size(n), size(k), a, size(a_row), c, size(c_row));
}
void syrk(bool a_transposed, std::size_t n, std::size_t k, const double* a, std::size_t a_row, double* c,
          std::size_t c_row) {
  tell_threads();
  call_syrk(flag(!a_transposed), size(n), size(k), a, size(a_row), c, size(c_row));
}

void eigh(std::size_t n, float* a, float* w) { any_eigh(n, a, w); }
void eigh(std::size_t n, double* a, double* w) { any_eigh(n, a, w); }

}  // namespace telamon::blas
