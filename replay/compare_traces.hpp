// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What `compare` replays: real connections, recorded once, and bursts that are made up.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "pm-netlink/error.hpp"

namespace pm::replay {

// Records real connections between two namespaces with two paths into `path`. {connections, events, lost}
[[nodiscard]] expected<nlohmann::json> record_connections(const std::string &path, std::uint64_t connections,
							  double rate);

struct burst_events {
	std::uint64_t at_once = 0;
	// Up to the last connection that is opened. Behind that there is only the trickle of those that close.
	std::uint64_t while_opened = 0;
};

// A burst, then calm at that rate.
[[nodiscard]] expected<burst_events> generate_burst(const std::string &path, double events_per_s);

} // namespace pm::replay
