// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// When each connection of a load is due: steps of a steady rate, one after the other.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace pm::replay {

// As many connections as can be made. No load generator comes near it.
inline constexpr double full_rate = 1e6;

// So many connections, at so many a second.
struct load_step {
	std::uint64_t connections = 0;
	double rate = 0;
};

class load_schedule {
public:
	explicit load_schedule(std::vector<load_step> steps) : steps_(std::move(steps)) {}

	[[nodiscard]] std::uint64_t connections() const noexcept
	{
		return std::accumulate(steps_.begin(), steps_.end(), std::uint64_t{0},
				       [](std::uint64_t sum, const load_step &each) { return sum + each.connections; });
	}

	// After the start of the load. The first one of a step is due when the last one of the step before has had its time.
	[[nodiscard]] std::chrono::nanoseconds due(std::uint64_t connection) const noexcept
	{
		double seconds = 0;
		for (const load_step &each : steps_) {
			if (connection < each.connections)
				return to_time(seconds + static_cast<double>(connection) / each.rate);
			connection -= each.connections;
			seconds += static_cast<double>(each.connections) / each.rate;
		}
		return to_time(seconds);
	}
	// Whether there is no schedule for it: as soon as it can be made.
	[[nodiscard]] bool at_full_rate(std::uint64_t connection) const noexcept
	{
		for (const load_step &each : steps_) {
			if (connection < each.connections)
				return each.rate >= full_rate;
			connection -= each.connections;
		}
		return false;
	}
	[[nodiscard]] std::chrono::nanoseconds length() const noexcept { return due(connections()); }

private:
	static std::chrono::nanoseconds to_time(double seconds) noexcept
	{
		return std::chrono::nanoseconds(std::llround(seconds * 1e9));
	}
	std::vector<load_step> steps_;
};

} // namespace pm::replay
