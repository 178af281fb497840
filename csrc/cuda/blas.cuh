// cuBLAS and cuSOLVER, found by dlopen when first wanted: no header of theirs is needed to build, and nothing is
// linked, so that libtelamon_cuda loads where they are not. The few prototypes are those of cublas_api.h and
// cusolverDn.h of CUDA 12 and 13, whose enumerations are ints; matrices are column-major and sizes 64-bit.
//
// A library that the process has loaded already, as PyTorch and CuPy do, is taken before one that would have to be
// searched for. Functions return 0, a cudaError_t, or a code below, and do not wait.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <mutex>
#include <type_traits>
#include <utility>

namespace telamon::cuda {

// Beyond every cudaError_t. The two failures are followed by the library's own status, up to 99.
inline constexpr int no_cublas = 20001, no_cusolver = 20002, cublas_failed = 20100, cusolver_failed = 20200;

enum class transposed : int { no, yes };  // cublasOperation_t

template <class T>
using gemm_function = int(void* handle, transposed, transposed, std::int64_t m, std::int64_t n, std::int64_t k,
                          const T* alpha, const T* a, std::int64_t lda, long long a_stride, const T* b,
                          std::int64_t ldb, long long b_stride, const T* beta, T* c, std::int64_t ldc,
                          long long c_stride, std::int64_t count);

namespace detail {

inline void* open_library(std::initializer_list<const char*> names) {
  for (const int loaded : {RTLD_NOLOAD, 0}) {
    for (const char* name : names) {
      if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL | loaded)) return library;
    }
  }
  return nullptr;
}

template <class F>
bool find(void* library, const char* symbol, F*& to) {
  to = reinterpret_cast<F*>(dlsym(library, symbol));
  return to != nullptr;
}

struct cublas {
  int (*create)(void** handle);
  int (*set_stream)(void* handle, cudaStream_t stream);
  gemm_function<float>* sgemm;
  gemm_function<double>* dgemm;

  static constexpr int failed = cublas_failed;
  bool load() {
    void* const library = open_library({"libcublas.so.13", "libcublas.so.12", "libcublas.so"});
    return library && find(library, "cublasCreate_v2", create) && find(library, "cublasSetStream_v2", set_stream) &&
           find(library, "cublasSgemmStridedBatched_64", sgemm) && find(library, "cublasDgemmStridedBatched_64", dgemm);
  }
};

struct cusolver {
  int (*create)(void** handle);
  int (*set_stream)(void* handle, cudaStream_t stream);
  int (*create_params)(void** params);
  int (*work_size)(void* handle, void* params, int vectors, int lower, std::int64_t n, int type, const void* a,
                   std::int64_t lda, int w_type, const void* w, int compute_type, std::size_t* on_device,
                   std::size_t* on_host);
  int (*syevd)(void* handle, void* params, int vectors, int lower, std::int64_t n, int type, void* a, std::int64_t lda,
               int w_type, void* w, int compute_type, void* on_device, std::size_t device_bytes, void* on_host,
               std::size_t host_bytes, int* info);

  static constexpr int failed = cusolver_failed;
  bool load() {
    void* const library = open_library({"libcusolver.so.12", "libcusolver.so.11", "libcusolver.so"});
    return library && find(library, "cusolverDnCreate", create) && find(library, "cusolverDnSetStream", set_stream) &&
           find(library, "cusolverDnCreateParams", create_params) &&
           find(library, "cusolverDnXsyevd_bufferSize", work_size) && find(library, "cusolverDnXsyevd", syevd);
  }
};

// Handles by device and stream. Each stream has its own, since a handle's memory for intermediate results serves one
// stream at a time. They are kept: a stream's address comes back often.
struct handles {
  std::mutex mutex;
  std::map<std::pair<int, void*>, void*> made;
};

// call(functions, handle), with the handle of this device and stream.
template <class Library, class Call>
int with_handle(int missing, handles& kept, void* stream, Call call) {
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device)) return error;
  const std::lock_guard<std::mutex> lock(kept.mutex);
  static Library functions;
  static bool loaded = false;
  if (!loaded && !(loaded = functions.load())) return missing;  // and looked for again in the next call
  void*& handle = kept.made[{device, stream}];
  int status = 0;
  if (handle == nullptr) status = functions.create(&handle);
  if (status == 0) status = functions.set_stream(handle, static_cast<cudaStream_t>(stream));
  if (status == 0) status = call(functions, handle);
  return status ? Library::failed + status : 0;
}

// Never destroyed: the libraries may be gone when a process ends.
inline handles& cublas_handles() {
  static auto* kept = new handles;
  return *kept;
}
inline handles& cusolver_handles() {
  static auto* kept = new handles;
  return *kept;
}

}  // namespace detail

// A column-major matrix, the first of several that lie `stride` apart.
template <class T>
struct operand {
  T* data;
  std::int64_t leading;
  long long stride = 0;
};

// c (m, n) = op(a) (m, k) op(b) (k, n) + beta c, `count` times.
template <class T>
int gemm(transposed op_a, transposed op_b, std::int64_t m, std::int64_t n, std::int64_t k, operand<const T> a,
         operand<const T> b, T beta, operand<T> c, std::int64_t count, void* stream) {
  return detail::with_handle<detail::cublas>(
      no_cublas, detail::cublas_handles(), stream, [&](const detail::cublas& blas, void* handle) {
        const T one = 1;
        gemm_function<T>* function = nullptr;
        if constexpr (std::is_same_v<T, float>) {
          function = blas.sgemm;
        } else {
          function = blas.dgemm;
        }
        return function(handle, op_a, op_b, m, n, k, &one, a.data, a.leading, a.stride, b.data, b.leading, b.stride,
                        &beta, c.data, c.leading, c.stride, count);
      });
}

// The eigenvalues w of a symmetric matrix, ascending, whose lower triangle is read, and in place of it the eigenvectors
// in columns. info is on the device, and is 0 where it converged. With work null, only the sizes of work are set.
template <class T>
int syevd(std::int64_t n, T* a, T* w, int* info, void* device_work, std::size_t& device_bytes, void* host_work,
          std::size_t& host_bytes, void* stream) {
  constexpr int vectors = 1, lower = 0, type = std::is_same_v<T, float> ? 0 : 1;  // CUDA_R_32F, CUDA_R_64F
  return detail::with_handle<detail::cusolver>(
      no_cusolver, detail::cusolver_handles(), stream, [&](const detail::cusolver& lapack, void* handle) {
        static void* params = nullptr;  // options, of which there are none
        if (params == nullptr) {
          if (const int status = lapack.create_params(&params)) return status;
        }
        if (device_work == nullptr) {
          return lapack.work_size(handle, params, vectors, lower, n, type, a, n, type, w, type, &device_bytes,
                                  &host_bytes);
        }
        return lapack.syevd(handle, params, vectors, lower, n, type, a, n, type, w, type, device_work, device_bytes,
                            host_work, host_bytes, info);
      });
}

}  // namespace telamon::cuda
