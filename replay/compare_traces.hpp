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

// Those about connections, in the order of the trace.
struct burst_events {
	std::uint64_t at_once = 0;
	std::uint64_t while_opened = 0; // up to the last connection that is opened: behind that, ever less comes
};

// A burst, then calm: connections at such a rate that their events, all in all, come at that one. A connection's come within
// some 150 ms, so at a high rate many of them are behind the last that is opened.
[[nodiscard]] expected<burst_events> generate_burst(const std::string &path, double events_per_s);

} // namespace pm::replay
