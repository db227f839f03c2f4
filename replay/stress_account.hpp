// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The arithmetic of a stress run: what became of every event, from what was seen at each end of the path manager's sockets
// and what it says of itself; and when a run does not count. Measures nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pm-netlink/error.hpp"

namespace pm::replay {

// Of a socket that the events were sent to.
struct socket_seen {
	std::uint64_t dropped = 0; // by the kernel, for want of buffer
	std::uint64_t unread = 0; // left in it at the end
};

// What was seen from outside.
struct events_seen {
	std::uint64_t sent = 0; // by the kernel, into the namespace
	std::uint64_t read = 0; // by the path manager's process
	std::vector<socket_seen> sockets; // that it has listened on, one after the other
	std::uint64_t not_looked_at = 0; // reads of any kind that were not seen
	bool implied = false; // neither was seen: `sent` is what the connections imply, and of `read` nothing is known
};

// What connections make the kernel send, where it is not seen. What it counts itself is of the client's namespace.
struct connections_seen {
	std::uint64_t made = 0;
	std::uint64_t subflows_up = 0, subflows_at_end = 0; // beyond the first; at the end: when their connection was closed
	std::uint64_t announced = 0, withdrawn = 0; // addresses, by the peer
};
[[nodiscard]] std::uint64_t implied_events(const connections_seen &seen) noexcept;

// What a path manager says of itself.
struct events_told {
	std::uint64_t delivered = 0; // read and understood
	std::uint64_t lost = 0; // that it knows of
	std::uint64_t refused = 0; // malformed, or not from the kernel
	std::uint64_t table_full = 0; // no room for their connection
	std::uint64_t idle = 0; // nothing could come of them: of unknown connections, or of a kind that no policy needs
	enum class way : std::uint8_t { socket, ring, call } by = way::socket; // how it is told: a ring buffer, or by being called
};

struct event_account {
	std::uint64_t emitted = 0;
	std::string emitted_by = "probe"; // or "implied"
	std::uint64_t delivered = 0;
	std::optional<std::uint64_t> acted_on; // nothing: cannot be seen
	std::map<std::string, std::uint64_t> lost; // by stage; emitted = delivered + their sum
};

// The error says which sum does not close.
[[nodiscard]] expected<event_account> account_for(const events_seen &from_outside,
						  const std::optional<events_told> &told);

inline constexpr const char *loss_stages[] = {"socket", "unread", "overrun", "ringbuf", "uncalled", "refused", "table"};

// What a run has to be free of, so that it counts.
struct run_conditions {
	std::optional<std::string> account_error{}; // of account_for()
	double clock_jump_ms = 0; // the wall clock against the monotonic one
	double scheduled_seconds = 0, opening_seconds = 0; // from the first connection's start to the last one's
	double late_p99_ms = 0; // of their starts
	bool at_full_rate = false; // there was no schedule to keep
	const char *each = "connections was opened"; // one in a hundred of which may be late
	std::uint64_t asked = 0, failed = 0; // connections
	std::string first_failure{};
	bool needs_loss = false; // there is to be an overrun, and a buffer that can be overrun
	std::uint64_t lost = 0; // events
};

// Why the run does not count, in a sentence; nothing if it does.
[[nodiscard]] std::optional<std::string> why_excluded(const run_conditions &conditions);

} // namespace pm::replay
