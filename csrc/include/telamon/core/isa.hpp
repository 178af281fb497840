// Which instruction set the compiled loops use. Chosen once, by asking the processor; TELAMON_ISA overrides.
#pragma once

#include <telamon/core/config.hpp>

#include <string_view>
#include <vector>

namespace telamon {

// In ascending order of preference. `baseline` is what the compiler targets by default (SSE2 on x86-64, NEON on Arm).
enum class isa : int { baseline = 0, avx2 = 1 };
inline constexpr int isa_count = 2;

TELAMON_API std::string_view isa_name(isa which) noexcept;

// What this build has loops for and this processor can run.
TELAMON_API std::vector<isa> available_isas();

// The first call reads TELAMON_ISA and throws std::invalid_argument when that names no available instruction set.
TELAMON_API isa active_isa();

// For tests and benchmarks; takes effect at the next call. Throws std::invalid_argument as above.
TELAMON_API void set_isa(std::string_view name);

}  // namespace telamon
