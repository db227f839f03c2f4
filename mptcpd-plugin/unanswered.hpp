// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Commands about subflows of which nothing was heard. mptcpd logs that the kernel refused a command and tells no plugin, so
// what an event should have answered long ago is looked for among the kernel's own subflows.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "pm-netlink/manager.hpp"
#include "pm-netlink/snapshot.hpp"

namespace pm::plugin {

class unanswered {
public:
	static constexpr std::uint64_t patience_ns =
		5'000'000'000; // an answer takes a round trip, and a SYN may be repeated

	// A command about this connection went out.
	void asked(u32 token, std::uint64_t now) { last_[token] = now; }

	// Connections of which a subflow is being opened or closed since before `now` - patience_ns. Each is named again after
	// that time, until it has none any more.
	[[nodiscard]] std::vector<u32> overdue(const manager &known, std::uint64_t now);

private:
	std::unordered_map<u32, std::uint64_t>
		last_; // for no more connections than the manager has, and those just closed
};

// The events that say which subflows of a connection are not there: refused to open, or to close.
[[nodiscard]] std::vector<pm_event> refusals(const pm_connection &connection, const netlink::snapshot &listed);

} // namespace pm::plugin
