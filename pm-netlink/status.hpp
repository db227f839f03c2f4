// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a running path manager says of itself, and its three forms: text, JSON, OpenMetrics.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "pm-netlink/commander.hpp"
#include "pm-netlink/event_source.hpp"
#include "pm-netlink/manager.hpp"

namespace pm::netlink {

struct service_status {
	std::string policy;
	std::map<std::string, std::uint32_t> settings; // of the policy
	std::uint64_t uptime_ns = 0;
	std::uint64_t pid = 0;

	std::uint64_t connections = 0, most_connections = 0;
	std::uint64_t subflows = 0, subflows_opening = 0, subflows_closing = 0; // of those connections
	std::vector<std::string> local_addresses; // in use

	event_counters events; // delivered, lost, foreign sender, refused by reason, the buffer and its fill
	tally handled; // by the engine
	std::uint64_t address_overruns = 0; // notifications of addresses lost (they were listed again)

	struct resyncs {
		std::uint64_t done = 0, failed = 0;
		std::uint64_t postponed = 0; // asked for while one was running or too soon after one
		bool running = false;
		std::uint64_t last_ns = 0; // how long the latest one took
		std::uint64_t adopted = 0; // connections that were not known
		std::uint64_t dropped = 0; // connections that were known and did not exist any more
		std::uint64_t lost_while_running = 0; // events that came during one and did not fit
	} resyncs;

	struct announcements {
		std::uint64_t heard = 0; // ADD_ADDR events
		std::uint64_t missed = 0; // ADD_ADDR that the kernel counted and no event told us of
		std::uint64_t recovered = 0; // taken over from what other connections to the same peer showed
		std::uint64_t unrecovered = 0; // connections whose peer may have announced what is not known here
	} announcements;

	command_counters commands;
	std::uint64_t commands_queued = 0;
	std::uint64_t holds =
		0; // times that a connection was made to wait, because it caused too many commands in a second
	std::uint64_t retries = 0; // connections looked at again after failures
	std::uint64_t retries_waiting = 0;

	// The policy with its settings, the connections and subflows, the local addresses, and what was handled.
	void describe(const manager &managed);
};

[[nodiscard]] nlohmann::json to_json(const service_status &status);
[[nodiscard]] std::string to_text(const nlohmann::json &status); // of to_json(): `pathlab status` has only that
[[nodiscard]] std::string to_openmetrics(const nlohmann::json &status);

} // namespace pm::netlink
