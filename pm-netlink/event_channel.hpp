// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How a path manager in userspace hears of events: the kernel's multicast group (event_source.hpp), or something else that
// yields the same ones and knows what it has lost.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "pm-core/types.h"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"

namespace pm::netlink {

// What has become of everything that was sent. delivered + lost + the sum of refused + foreign_sender is what was sent,
// once the channel is empty. (On a socket, a datagram that is lost or of a foreign sender counts as one, whatever it
// holds; the kernel puts one message into each.)
struct event_counters {
	std::uint64_t delivered = 0; // decoded and handed over
	std::uint64_t lost = 0; // dropped by the kernel for want of buffer
	std::uint64_t foreign_sender = 0; // not from the kernel, and replays not asked for
	std::array<std::uint64_t, refusal_count> refused{}; // malformed, by reason
	std::uint64_t buffer_bytes = 0; // what the kernel granted
	std::uint64_t buffer_used = 0; // of these, when the counters were last brought up to date
};

class event_channel {
public:
	using handler = std::function<void(const pm_event &)>;

	event_channel() = default;
	event_channel(const event_channel &) = delete;
	event_channel &operator=(const event_channel &) = delete;
	virtual ~event_channel() = default;

	[[nodiscard]] virtual int fd() const noexcept = 0; // to poll for reading
	// Hands over events until there are no more, or `most` were read. Yields how many were read. Never blocks. `handle`
	// does not throw and does not call read().
	[[nodiscard]] virtual expected<std::size_t> read(const handler &handle, std::size_t most) = 0;
	// Brings `lost` and `buffer_used` up to date and yields all counters.
	[[nodiscard]] virtual const event_counters &counters() = 0;
	// The least that an event takes of the buffer, in bytes.
	[[nodiscard]] virtual std::size_t smallest_charge() const noexcept = 0;
};

} // namespace pm::netlink
