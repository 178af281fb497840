#include <telamon/core/error.hpp>
#include <telamon/core/isa.hpp>

#include <atomic>
#include <cstdlib>
#include <string>

#include "multiversion.hpp"

namespace telamon {
namespace {

constexpr int unset = -1;
std::atomic<int> active{unset};

bool supported(isa which) {
  if (which == isa::baseline) return true;
#if TELAMON_HAS_AVX2
  // Two features rather than a level such as x86-64-v3, which not every compiler knows here.
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

isa parse(std::string_view name, const char* source) {
  std::string available;
  for (isa which : available_isas()) {
    if (isa_name(which) == name) return which;
    available += (available.empty() ? "" : ", ") + std::string(isa_name(which));
  }
  detail::fail(source, " is \"", name, "\", which is not one of the instruction sets available here: ", available);
}

}  // namespace

std::string_view isa_name(isa which) noexcept { return which == isa::avx2 ? "avx2" : "baseline"; }

std::vector<isa> available_isas() {
  std::vector<isa> found;
  for (isa which : {isa::baseline, isa::avx2}) {
    if (supported(which)) found.push_back(which);
  }
  return found;
}

// Relaxed is enough: the choice guards no other data, and threads that race here compute the same answer.
isa active_isa() {
  int which = active.load(std::memory_order_relaxed);
  if (which == unset) {
    const char* wanted = std::getenv("TELAMON_ISA");
    which = static_cast<int>(wanted && *wanted ? parse(wanted, "TELAMON_ISA") : available_isas().back());
    active.store(which, std::memory_order_relaxed);
  }
  return static_cast<isa>(which);
}

void set_isa(std::string_view name) {
  active.store(static_cast<int>(parse(name, "set_isa: name")), std::memory_order_relaxed);
}

}  // namespace telamon
