// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Generated traces: connections of a client with two paths and both address families, in the shapes that hurt a path
// manager. The same seed yields the same events.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"

namespace pm::replay {

enum class shape : std::uint8_t {
	poisson,     // short connections, arrivals independent of each other, at the rate on average
	burst,       // half of the connections all at once at time 0, then the rest calmly, evenly, at the rate
	flash_crowd, // the rate, rising to ten times as much within a tenth of the trace, and falling back as fast
	flapping,    // connections that stay, whose servers announce and remove an address again and again
	mobility,    // connections that stay, while the client's second address goes and comes back
};

struct shape_description {
	shape value;
	std::string_view name;
	std::string_view help;
};
[[nodiscard]] std::span<const shape_description> shapes() noexcept;
[[nodiscard]] expected<shape> find_shape(std::string_view name); // the error names the shapes that exist

struct generate_options {
	shape what = shape::poisson;
	std::uint64_t connections = 1000; // 1 to 2^32 - 1
	double rate = 1000; // connections per second; above 0, and no trace takes more than three years
	std::uint64_t seed = 1;
	std::uint64_t first_token = 1; // so that two traces played one after the other share no connection
};

// Calls `take` for each event in order of time (from 0); their seq is 0, as the kernel has it. A short connection has
// seven: CREATED, ESTABLISHED, ANNOUNCED, a SUB_ESTABLISHED for each of the three further pairs of a full mesh,
// CLOSED. Memory grows with the connections that are open at a time, not with the trace. First the namespace's
// addresses (PM_LOCAL_ADDED with token 0), then connections. Stops and passes on the first error of `take`.
[[nodiscard]] expected<void> generate(const generate_options &options,
				      const std::function<expected<void>(const pm_event &)> &take);

} // namespace pm::replay
