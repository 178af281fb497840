// The functions of telamon/so3.hpp as XLA custom calls: telamon_jax_so3_<name>, loaded and registered by telamon.jax.
//
// Features are dense buffers (..., components, channels) of equal leading dimensions and one type, float32 or float64.
#include "jax_ffi.hpp"

#include <telamon/so3.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

namespace telamon::jax {
namespace {

namespace ffi = ::xla::ffi;
using ffi::AnyBuffer;
using Out = ffi::Result<AnyBuffer>;

struct shape {
  std::size_t samples, components, channels;
};

shape shape_of(const AnyBuffer& buffer) {
  const auto dims = buffer.dimensions();
  if (dims.size() < 2) throw std::invalid_argument("telamon: a buffer has less than two dimensions");
  const auto components = static_cast<std::size_t>(dims[dims.size() - 2]);
  const auto channels = static_cast<std::size_t>(dims[dims.size() - 1]);
  const std::size_t each = components * channels;
  return {each == 0 ? 0 : buffer.element_count() / each, components, channels};
}

int lmax_of(std::size_t components) {
  int lmax = 0;
  while (static_cast<std::size_t>(so3::components(lmax)) < components) ++lmax;
  if (static_cast<std::size_t>(so3::components(lmax)) != components) {
    throw std::invalid_argument("telamon: " + std::to_string(components) + " components are no square");
  }
  return lmax;
}

template <class T>
so3::features<T> features_of(T* data, const shape& s) {
  const auto channels = static_cast<std::ptrdiff_t>(s.channels);
  return {data, static_cast<std::ptrdiff_t>(s.components) * channels, channels, 1};
}

template <class T>
so3::features<const T> input(const AnyBuffer& buffer) {
  return features_of(static_cast<const T*>(buffer.untyped_data()), shape_of(buffer));
}

// The result, with zeros in the components above degree `most`: a derivative may have a higher degree than its factors
// together, that of a product cut below one of them. Also the degree up to which it is to be computed.
template <class T>
struct reachable {
  so3::features<T> out;
  int lmax;

  reachable(Out& result, int most) {
    const shape s = shape_of(*result);
    T* data = static_cast<T*>(result->untyped_data());
    out = features_of(data, s);
    lmax = lmax_of(s.components);
    if (lmax <= most) return;
    lmax = most;
    const std::size_t first = static_cast<std::size_t>(so3::components(most)) * s.channels;
    const std::size_t each = s.components * s.channels;
    for (std::size_t n = 0; n < s.samples; ++n) std::fill(data + n * each + first, data + (n + 1) * each, T(0));
  }
};

// Calls f with a value of the buffers' type. No exception may cross into XLA.
template <class Function>
ffi::Error by_type(ffi::DataType type, Function f) {
  try {
    if (type == ffi::F64) {
      f(double());
    } else if (type == ffi::F32) {
      f(float());
    } else {
      return ffi::Error::InvalidArgument("telamon: features must be float32 or float64");
    }
  } catch (const std::invalid_argument& error) {
    return ffi::Error::InvalidArgument(error.what());
  } catch (const std::exception& error) {
    return ffi::Error::Internal(error.what());
  }
  return ffi::Error::Success();
}

void require_same(const shape& a, const shape& b) {
  if (a.samples != b.samples || a.channels != b.channels) {
    throw std::invalid_argument("telamon: features must have the same samples and channels");
  }
}

ffi::Error so3_product_handler(AnyBuffer x, AnyBuffer y, Out out, std::int64_t kind, std::int64_t method) {
  return by_type(x.element_type(), [&](auto zero) {
    using T = decltype(zero);
    const shape s = shape_of(x), t = shape_of(y);
    require_same(s, t);
    require_same(s, shape_of(*out));
    const int l1 = lmax_of(s.components), l2 = lmax_of(t.components);
    const reachable<T> z(out, l1 + l2);
    so3::product_options<T> options;
    options.which = static_cast<so3::kind>(kind);
    options.how = static_cast<so3::method>(method);
    so3::gaunt_product(l1, l2, z.lmax, input<T>(x), input<T>(y), z.out, {}, s.samples, s.channels, options);
  });
}

ffi::Error so3_monomial_handler(ffi::RemainingArgs factors, Out out, ffi::Span<const std::int64_t> powers) {
  return by_type(out->element_type(), [&](auto zero) {
    using T = decltype(zero);
    const shape s = shape_of(*out);
    std::vector<so3::factor<T>> all;
    int most = 0;
    for (std::size_t i = 0; i < factors.size(); ++i) {
      const AnyBuffer x = factors.get<AnyBuffer>(i).value();
      require_same(s, shape_of(x));
      all.push_back({lmax_of(shape_of(x).components), static_cast<int>(powers[i]), input<T>(x)});
      most += all.back().lmax * all.back().power;
    }
    const reachable<T> z(out, most);
    so3::gaunt_monomial(span<const so3::factor<T>>(all.data(), all.size()), z.lmax, z.out, false, s.samples,
                        s.channels);
  });
}

ffi::Error so3_harmonics_handler(AnyBuffer r, Out out) {
  return by_type(r.element_type(), [&](auto zero) {
    using T = decltype(zero);
    const auto components = static_cast<std::size_t>(out->dimensions().back());
    const so3::vectors<const T> vectors{static_cast<const T*>(r.untyped_data()), 3, 1};
    const so3::vectors<T> values{static_cast<T*>(out->untyped_data()), static_cast<std::ptrdiff_t>(components), 1};
    so3::solid_harmonics(lmax_of(components), vectors, values, r.element_count() / 3);
  });
}

using ffi::Ffi;

}  // namespace

TELAMON_HANDLER(
    so3_product,
    Ffi::Bind().Arg<AnyBuffer>().Arg<AnyBuffer>().Ret<AnyBuffer>().Attr<std::int64_t>("kind").Attr<std::int64_t>(
        "method"))
TELAMON_HANDLER(so3_monomial,
                Ffi::Bind().RemainingArgs().Ret<AnyBuffer>().Attr<ffi::Span<const std::int64_t>>("powers"))
TELAMON_HANDLER(so3_harmonics, Ffi::Bind().Arg<AnyBuffer>().Ret<AnyBuffer>())

}  // namespace telamon::jax
