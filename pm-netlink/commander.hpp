// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Commands to the kernel's userspace path manager: queued, sent many at a time, every answer matched to its command.
//
// The kernel carries a command out inside the system call that sends it, so what takes time is the sending: a batch is
// bounded, and between batches the caller reads events. Decides nothing about a refusal; the engine does.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::netlink {

// sent = accepted + sum of refused + unanswered.
struct command_counters {
	struct refusal_kind {
		std::uint64_t count = 0;
		std::string text; // the kernel's words (extended ack), the latest; empty if it gave none
	};
	std::uint64_t sent = 0;
	std::uint64_t accepted = 0;
	std::uint64_t unanswered = 0; // their answers were lost
	std::map<int, refusal_kind> refused; // by errno
};

struct command_answer {
	const pm_command &command;
	int error; // 0: carried out; otherwise an errno; ENOBUFS with an empty text: the answer was lost
	std::string_view text; // the kernel's explanation, or empty; good until the handler returns
};

class commander {
public:
	static constexpr std::size_t batch = 32;

	// In the calling thread's network namespace. The kernel refuses every command without CAP_NET_ADMIN there.
	[[nodiscard]] static expected<commander> open();

	void queue(const pm_command &command) { queue_.push_back(command); }
	[[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }
	[[nodiscard]] const command_counters &counters() const noexcept { return counters_; }

	// Sends up to a batch of what is queued with one system call and reads all the answers; calls
	// `handle(const command_answer &)` for each command sent, in order. Yields how many there were. Commands that `handle`
	// queues wait for the next call.
	template <class Handle>
	[[nodiscard]] expected<std::size_t> exchange(Handle &&handle);
};

} // namespace pm::netlink
