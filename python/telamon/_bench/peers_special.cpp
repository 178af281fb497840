// log I_v(x) and log K_v(x) as a careful user would get them from other C++ libraries: the function, then its
// logarithm, one scalar call an element. Linked into bench/cpp, and compiled on the fly by `telamon bench special`.
// Fairness: scaled or logarithmic forms wherever the library has one, no promotion to long double in Boost, and errors
// reported through the value (nan or inf), never by throwing or aborting.
#include <cmath>
#include <cstddef>
#include <exception>
#include <limits>

#if __has_include(<boost/math/special_functions/bessel.hpp>)
#include <boost/math/special_functions/bessel.hpp>
#include <boost/version.hpp>
#define TELAMON_BENCH_BOOST BOOST_LIB_VERSION
#endif
#if __has_include(<gsl/gsl_sf_bessel.h>) && !defined(TELAMON_BENCH_NO_GSL)
#include <gsl/gsl_errno.h>
#include <gsl/gsl_sf_bessel.h>
#include <gsl/gsl_version.h>
#define TELAMON_BENCH_GSL GSL_VERSION
#endif

namespace {

// Calls f(v, x) for every element; a library that throws all the same yields nan.
template <class F>
void each(const double* v, const double* x, double* out, std::size_t n, F f) {
  for (std::size_t i = 0; i < n; ++i) {
    try {
      out[i] = f(v[i], x[i]);
    } catch (const std::exception&) {
      out[i] = std::numeric_limits<double>::quiet_NaN();
    }
  }
}

}  // namespace

extern "C" {

// The version of each peer, or null where it was not found at compile time.
const char* telamon_bench_boost_version() {
#ifdef TELAMON_BENCH_BOOST
  return TELAMON_BENCH_BOOST;
#else
  return nullptr;
#endif
}
const char* telamon_bench_gsl_version() {
#ifdef TELAMON_BENCH_GSL
  return TELAMON_BENCH_GSL;
#else
  return nullptr;
#endif
}
const char* telamon_bench_libstdcxx_version() {
#if defined(__GLIBCXX__) && defined(_GLIBCXX_RELEASE) && __cplusplus >= 201703L
#define TELAMON_BENCH_STRING_(x) #x
#define TELAMON_BENCH_STRING(x) TELAMON_BENCH_STRING_(x)
  return TELAMON_BENCH_STRING(_GLIBCXX_RELEASE);
#else
  return nullptr;  // libc++ and MSVC's library have no Bessel functions or spell their version otherwise
#endif
}

#ifdef __GLIBCXX__
void telamon_bench_libstdcxx_log_iv(const double* v, const double* x, double* out, std::size_t n) {
  each(v, x, out, n, [](double a, double b) { return std::log(std::cyl_bessel_i(a, b)); });
}
void telamon_bench_libstdcxx_log_kv(const double* v, const double* x, double* out, std::size_t n) {
  each(v, x, out, n, [](double a, double b) { return std::log(std::cyl_bessel_k(a, b)); });
}
#endif

#ifdef TELAMON_BENCH_BOOST
namespace bmp = boost::math::policies;
using quiet = bmp::policy<bmp::domain_error<bmp::ignore_error>, bmp::pole_error<bmp::ignore_error>,
                          bmp::overflow_error<bmp::ignore_error>, bmp::underflow_error<bmp::ignore_error>,
                          bmp::evaluation_error<bmp::ignore_error>, bmp::promote_double<false> >;

void telamon_bench_boost_log_iv(const double* v, const double* x, double* out, std::size_t n) {
  each(v, x, out, n, [](double a, double b) { return std::log(boost::math::cyl_bessel_i(a, b, quiet())); });
}
void telamon_bench_boost_log_kv(const double* v, const double* x, double* out, std::size_t n) {
  each(v, x, out, n, [](double a, double b) { return std::log(boost::math::cyl_bessel_k(a, b, quiet())); });
}
#endif

#ifdef TELAMON_BENCH_GSL
void telamon_bench_gsl_log_iv(const double* v, const double* x, double* out, std::size_t n) {
  gsl_set_error_handler_off();
  each(v, x, out, n, [](double a, double b) {
    gsl_sf_result r;
    gsl_sf_bessel_Inu_scaled_e(a, b, &r);
    return std::log(r.val) + b;
  });
}
void telamon_bench_gsl_log_kv(const double* v, const double* x, double* out, std::size_t n) {
  gsl_set_error_handler_off();
  each(v, x, out, n, [](double a, double b) {
    gsl_sf_result r;
    gsl_sf_bessel_lnKnu_e(a, b, &r);
    return r.val;
  });
}
#endif

}  // extern "C"
