// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a run replays: the events of a trace, or its first ones, and behind them a calm tail of generated connections,
// which shows whether the consumer still hears after the load. Streams, and can be gone through again.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "replay/trace.hpp"

namespace pm::replay {

struct stream_item {
	pm_event event;         // seq counts from 1 over the whole stream; time_ns is since the start of its part
	netlink::bytes
		message; // as the trace has it, or encoded for the tail's family 0; empty for a change of addresses
	bool tail = false;

	// Addresses that come and go are no messages of the path-manager group: they reach every backend directly, in order.
	[[nodiscard]] bool local_change() const noexcept { return event.token == 0 && event.type >= PM_LOCAL_ADDED; }
};

class event_stream {
public:
	struct options {
		std::string trace;
		std::uint64_t most_events = 0; // of the trace; 0: all
		std::uint64_t tail_events = 0; // about as many: whole connections
	};
	[[nodiscard]] static expected<event_stream> open(const options &options);

	// The next item, which stays until the next call; nullptr at the end.
	[[nodiscard]] expected<const stream_item *> next();
	[[nodiscard]] expected<void> rewind();

private:
	event_stream(trace_reader reader, const options &wanted) : reader_(std::move(reader)), options_(wanted) {}
	[[nodiscard]] expected<void> generate_tail();

	trace_reader reader_;
	options options_;
	std::vector<pm_event> tail_;
	std::uint64_t events_ = 0;
	std::uint32_t seq_ = 0;
	std::size_t in_tail_ = 0;
	bool load_over_ = false;
	stream_item item_{};
	std::array<std::byte, netlink::max_message> encoded_{};
};

} // namespace pm::replay
