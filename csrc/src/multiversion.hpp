// One body, compiled once per instruction set.
//
//   TELAMON_MULTIVERSION(scale_f64, (const double* x, double* y, std::size_t n), {
//     TELAMON_SIMD for (std::size_t i = 0; i < n; ++i) y[i] = kernel(x[i]);
//   })
//   scale_f64(x, y, n);             // runs the version for active_isa()
//
//   TELAMON_MULTIVERSION_TEMPLATE(scale, (class T), (const T* x, T* y, std::size_t n), {
//     TELAMON_SIMD for (std::size_t i = 0; i < n; ++i) y[i] = kernel(x[i]);
//   })
//   scale<double>::run(x, y, n);    // float, double, or any other template parameters: (class T, class Kernel)
//
// How it works. The body is pasted into one function per instruction set. `target` lets the compiler use the set inside
// that function only, so no file needs flags of its own and no AVX2 code can leak into shared inline functions. The
// templates called from the body have no target themselves; `flatten` inlines the whole tree of calls into the body,
// where they are compiled for its target. What cannot be inlined (recursion, functions of other translation units,
// libm) stays a baseline call: correct, but slow. The name is a function object holding the versions, so arguments are
// forwarded without being named again, and a call costs an atomic load and an indirect jump.
//
// Inside the body `arch` names the version's arch_traits (core/numeric.hpp), for templates that want to know.
//
// The body is any block of statements returning void; lambdas, local classes and class templates are fine, and so are
// commas. It must not contain preprocessor lines: write TELAMON_SIMD, not #pragma.
//
// A further instruction set is one enumerator in core/isa.hpp, its test in isa.cpp and one more line in the macros.
#pragma once

#include <telamon/core/isa.hpp>
#include <telamon/core/numeric.hpp>

#include <cstddef>

#if defined(__x86_64__) && defined(__GNUC__)
#define TELAMON_HAS_AVX2 1
#else
#define TELAMON_HAS_AVX2 0
#endif

#if defined(__GNUC__) && !defined(TELAMON_NO_FORCED_INLINE)
#define TELAMON_FLATTEN __attribute__((flatten))
#else
#define TELAMON_FLATTEN
#endif

namespace telamon::detail {

template <class Signature>
struct multiversion;

template <class... Args>
struct multiversion<void(Args...)> {
  void (*versions[isa_count])(Args...);

  void operator()(Args... args) const { versions[static_cast<int>(active_isa())](args...); }
};

}  // namespace telamon::detail

// clang-format off
// The attribute names features, not an -march level: those also tune, and compilers disagree about which they accept.
#if TELAMON_HAS_AVX2
#define TELAMON_VERSIONS(baseline, avx2, params, ...)                            \
  TELAMON_FLATTEN static void baseline params {                                  \
    using arch [[maybe_unused]] = ::telamon::native_arch;                        \
    __VA_ARGS__                                                                  \
  }                                                                              \
  TELAMON_FLATTEN __attribute__((target("avx2,fma"))) static void avx2 params {  \
    using arch [[maybe_unused]] = ::telamon::arch_traits<true>;                  \
    __VA_ARGS__                                                                  \
  }
#define TELAMON_TABLE(baseline, avx2) {{&baseline, &avx2}}
#else
#define TELAMON_VERSIONS(baseline, avx2, params, ...)     \
  TELAMON_FLATTEN static void baseline params {           \
    using arch [[maybe_unused]] = ::telamon::native_arch; \
    __VA_ARGS__                                           \
  }
#define TELAMON_TABLE(baseline, avx2) {{&baseline, &baseline}}
#endif

#define TELAMON_MULTIVERSION(name, params, ...)                       \
  TELAMON_VERSIONS(name##_baseline, name##_avx2, params, __VA_ARGS__) \
  static constexpr ::telamon::detail::multiversion<void params> name TELAMON_TABLE(name##_baseline, name##_avx2);

// A class, since only a class template can name its own instantiation without repeating the parameters.
#define TELAMON_UNWRAP(...) __VA_ARGS__
#define TELAMON_MULTIVERSION_TEMPLATE(name, template_params, params, ...)                            \
  namespace {                                                                                        \
  template <TELAMON_UNWRAP template_params>                                                          \
  struct name {                                                                                      \
    TELAMON_VERSIONS(baseline, avx2, params, __VA_ARGS__)                                            \
    static constexpr ::telamon::detail::multiversion<void params> run TELAMON_TABLE(baseline, avx2); \
  };                                                                                                 \
  }
// clang-format on
