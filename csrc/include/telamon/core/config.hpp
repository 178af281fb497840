// Compiler and target macros. Includes nothing of the library, so that a device kernel can start here.
#pragma once

// TELAMON_VERSION comes from the project's one version number: by a header that CMake writes when it installs, by a
// definition when it builds. Headers used straight from the sources have no version.
#if defined(__has_include) && !defined(TELAMON_VERSION)
#if __has_include(<telamon/core/version.hpp>)
#include <telamon/core/version.hpp>
#endif
#endif

// Kernels are templates that compile unchanged for the host and for the device.
#if defined(__CUDACC__)
#define TELAMON_HD __host__ __device__
#else
#define TELAMON_HD
#endif

// What a kernel consists of must end up in the loop that calls it, or the loop is not vectorised. Debug and sanitized
// builds, where that would only make the compiler run for an hour, define TELAMON_NO_FORCED_INLINE.
#if defined(__GNUC__) && !defined(TELAMON_NO_FORCED_INLINE)
#define TELAMON_INLINE inline __attribute__((always_inline))
#else
#define TELAMON_INLINE inline
#endif

// The same for a lambda, after its parameters: `[&](int i) TELAMON_INLINE_LAMBDA { ... }`.
#if defined(__GNUC__) && !defined(TELAMON_NO_FORCED_INLINE) && !defined(__CUDACC__)
#define TELAMON_INLINE_LAMBDA __attribute__((always_inline))
#else
#define TELAMON_INLINE_LAMBDA
#endif

// Everything is hidden unless marked: symbols that are not exported cannot be interposed, so calls between our own
// functions stay direct, and two copies of telamon in one process do not mix.
#if defined(__GNUC__)
#define TELAMON_API __attribute__((visibility("default")))
#else
#define TELAMON_API
#endif

// Put before a loop whose iterations are independent: `TELAMON_SIMD for (...)`. An operator, not a #pragma line, so
// that it may stand inside a macro argument (TELAMON_MULTIVERSION's body). Needs -fopenmp-simd, which links nothing.
#if defined(__CUDA_ARCH__) || !defined(__GNUC__)
#define TELAMON_SIMD
#else
#define TELAMON_SIMD _Pragma("omp simd")
#endif

#if defined(__GNUC__) && !defined(__CUDACC__)
#define TELAMON_UNROLL _Pragma("GCC unroll 16")
#else
#define TELAMON_UNROLL
#endif
