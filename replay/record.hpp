// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Records the path-manager events of the calling thread's network namespace into a trace.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pm-netlink/error.hpp"

namespace pm::replay {

struct record_counters {
	std::uint64_t recorded = 0;         // path-manager events
	std::uint64_t addresses = 0;        // local addresses: those at the start, those that came and went
	std::uint64_t lost = 0;             // of either, for want of buffer
	std::uint64_t refused = 0;          // malformed, or not from the kernel
};

class recorder {
public:
	// Subscribes first, so that no event from here on is missed, then writes the addresses that the namespace has.
	[[nodiscard]] static expected<recorder> start(const std::string &path, std::uint32_t buffer_bytes = 64u << 20);
	recorder(recorder &&) noexcept;
	recorder &operator=(recorder &&) noexcept;
	~recorder(); // without finish(): leaves no file

	// Writes what has arrived until `stop_fd` becomes readable or `seconds` (0: for ever) have passed, then what
	// is still in the socket. An event's time is when it was read (CLOCK_REALTIME): netlink does not say when it
	// was sent.
	[[nodiscard]] expected<void> run(int stop_fd, double seconds);
	// Closes the trace. A recording that lost events is kept, as FILE, and fails with how many.
	[[nodiscard]] expected<record_counters> finish();

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit recorder(std::unique_ptr<impl>);
};

} // namespace pm::replay
