// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Traces: pcap files of netlink messages (LINKTYPE_NETLINK, nanosecond times), which Wireshark dissects and nlmon can
// write. A trace begins with the generic netlink controller's description of `mptcp_pm` (its number differs from boot
// to boot), then the namespace's addresses as RTM_NEWADDR, then events as they happened; addresses that come and go
// in between are RTM_NEWADDR and RTM_DELADDR. Both directions stream: nothing here holds a trace in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pm-core/types.h"
#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"
#include "pm-netlink/family.hpp"

namespace pm::replay {

class trace_writer {
public:
	// Creates FILE, as FILE.part until close() renames it, which replaces an existing FILE. The trace will begin
	// with `family`'s description.
	[[nodiscard]] static expected<trace_writer> create(const std::string &path, const netlink::family &family);
	trace_writer(trace_writer &&) noexcept;
	trace_writer &operator=(trace_writer &&) noexcept;
	~trace_writer(); // without close(): removes FILE.part

	// event.time_ns is the time of the packet: nanoseconds since the epoch for a recording, since 0 for a
	// generated one. Local address events (token 0) become RTM_NEWADDR, RTM_DELADDR. Times must not decrease.
	// After a failure FILE.part is gone, and every further call fails.
	[[nodiscard]] expected<void> write(const pm_event &event);
	[[nodiscard]] expected<void> close();

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit trace_writer(std::unique_ptr<impl>);
};

// One event of a trace, decoded and as it was recorded.
struct trace_record {
	pm_event event;         // time_ns is since the first event of the trace, never decreasing; seq counts from 1
	netlink::bytes message; // one netlink message, RTM_NEWADDR or RTM_DELADDR if the event has token 0
};

class trace_reader {
public:
	// Fails on a file that is no pcap, of another link type, or in which no description stands in front of the
	// first event (messages of other families, which nlmon mixes in, may). Pipes can be read, once.
	[[nodiscard]] static expected<trace_reader> open(const std::string &path);
	trace_reader(trace_reader &&) noexcept;
	trace_reader &operator=(trace_reader &&) noexcept;
	~trace_reader();

	// The next event, which stays where it is until the next call; nullptr at the end. Fails, with the packet's
	// number, on a file that breaks off or an event that does not decode; after a failure there is no next event.
	// Messages to the kernel and its answers to them are not events.
	[[nodiscard]] expected<const trace_record *> next();

	// Back to the first event, in the file that was opened, whatever its name stands for now.
	[[nodiscard]] expected<void> rewind();

	[[nodiscard]] const netlink::family &family() const noexcept; // as the trace describes it
	[[nodiscard]] std::uint64_t foreign() const noexcept; // messages passed over, as they are no events
	[[nodiscard]] const std::string &path() const noexcept;

private:
	struct impl;
	std::unique_ptr<impl> impl_;
	explicit trace_reader(std::unique_ptr<impl>);
};

} // namespace pm::replay
