// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// CPU time, and the two processors that a replay uses: one sends, the other receives. The clock of all measurements is
// now_ns().
#pragma once

#include <cstdint>

#include <sched.h>

#include "pm-netlink/clock.hpp"

namespace pm::replay {

inline std::uint64_t thread_cpu_ns() noexcept { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

// Keeps the calling thread (or, before exec, process) on one of the processors that this process may use: number
// `which` of them, counted round. With a single processor this changes nothing.
inline void stay_on_cpu(unsigned which) noexcept
{
	static const cpu_set_t allowed = [] {
		cpu_set_t set;
		CPU_ZERO(&set);
		sched_getaffinity(0, sizeof set, &set);
		return set;
	}();
	const unsigned count = static_cast<unsigned>(CPU_COUNT(&allowed));
	unsigned place = count ? which % count : 0;
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
		if (!CPU_ISSET(cpu, &allowed) || place-- > 0)
			continue;
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof one, &one);
		return;
	}
}
inline constexpr unsigned sending_cpu = 0, receiving_cpu = 1;

} // namespace pm::replay
