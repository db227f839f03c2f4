// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// CLOCK_MONOTONIC, the clock that BPF programs read too, in nanoseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace pm {

inline std::uint64_t nanoseconds(clockid_t clock) noexcept
{
	timespec at{};
	clock_gettime(clock, &at);
	return static_cast<std::uint64_t>(at.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(at.tv_nsec);
}
inline std::uint64_t now_ns() noexcept { return nanoseconds(CLOCK_MONOTONIC); }

} // namespace pm
