// Vectors of lanes for code that is written in tiles: what the compiler makes one register of, and memory for it.
#pragma once

#include <telamon/core/config.hpp>

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

namespace telamon::simd {

// 32 bytes: one AVX2 register, or two of the baseline.
template <class T>
struct lanes {
  static constexpr int count = 32 / sizeof(T);
  typedef T type __attribute__((vector_size(32)));
};
template <class T>
using vector = typename lanes<T>::type;

// Scratch that is aligned for vectors and not initialised.
template <class T>
class scratch {
 public:
  explicit scratch(std::size_t vectors)
      : data_(static_cast<vector<T>*>(::operator new(vectors * sizeof(vector<T>), std::align_val_t(64)))) {}
  ~scratch() { ::operator delete(data_, std::align_val_t(64)); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  vector<T>* data() const noexcept { return data_; }

 private:
  vector<T>* data_;
};

template <class T>
TELAMON_INLINE vector<std::remove_const_t<T>> load(const T* p) noexcept {
  vector<std::remove_const_t<T>> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
TELAMON_INLINE void store(const vector<T>& v, T* p) noexcept {
  std::memcpy(p, &v, sizeof v);
}

}  // namespace telamon::simd
