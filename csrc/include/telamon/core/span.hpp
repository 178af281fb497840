// Views of arrays: span (contiguous) and strided (one pointer and a step in bytes, as NumPy hands them out).
#pragma once

#include <telamon/core/config.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

namespace telamon {

// std::span's core for C++17: a pointer and a length, cheap to copy, never owning.
template <class T>
class span {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  constexpr span() noexcept = default;
  TELAMON_HD constexpr span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  template <std::size_t N>
  TELAMON_HD constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}

  // Any contiguous container (std::vector, std::array, span<U>) whose elements convert by adding const only.
  template <class C, class Data = decltype(std::declval<C&>().data()), class = decltype(std::declval<C&>().size()),
            class = std::enable_if_t<std::is_convertible_v<std::remove_pointer_t<Data> (*)[], T (*)[]>>>
  constexpr span(C&& container) noexcept : data_(container.data()), size_(container.size()) {}

  TELAMON_HD constexpr T* data() const noexcept { return data_; }
  TELAMON_HD constexpr std::size_t size() const noexcept { return size_; }
  TELAMON_HD constexpr bool empty() const noexcept { return size_ == 0; }
  TELAMON_HD constexpr T* begin() const noexcept { return data_; }
  TELAMON_HD constexpr T* end() const noexcept { return data_ + size_; }
  TELAMON_HD constexpr T& operator[](std::size_t i) const noexcept { return data_[i]; }
  TELAMON_HD constexpr span subspan(std::size_t offset, std::size_t count) const noexcept {
    return {data_ + offset, count};
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// The step is in bytes, may be zero (a broadcast scalar) or negative (a reversed array).
template <class T>
struct strided {
  T* data = nullptr;
  std::ptrdiff_t stride = sizeof(T);

  constexpr strided() noexcept = default;
  TELAMON_HD constexpr strided(T* data_, std::ptrdiff_t stride_bytes) noexcept : data(data_), stride(stride_bytes) {}
  TELAMON_HD constexpr strided(span<T> s) noexcept : data(s.data()) {}

  TELAMON_HD T& operator[](std::size_t i) const noexcept { return *from(i).data; }

  // The view that starts at element i.
  TELAMON_HD strided from(std::size_t i) const noexcept {
    using byte = std::conditional_t<std::is_const_v<T>, const char, char>;
    return {reinterpret_cast<T*>(reinterpret_cast<byte*>(data) + static_cast<std::ptrdiff_t>(i) * stride), stride};
  }

  TELAMON_HD constexpr bool contiguous() const noexcept { return stride == static_cast<std::ptrdiff_t>(sizeof(T)); }
};

}  // namespace telamon
