// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How many path-manager events the kernel has sent in a network namespace, and how many of them a process has read: see
// witness.bpf.c. Neither depends on what a path manager says of itself.
#pragma once

#include <cstdint>
#include <memory>

#include <sys/types.h>

#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"

struct witness_bpf;

namespace pm::bpf {

class event_witness {
public:
	// In the calling thread's network namespace, from now on. The kernel emits events there as long as this lives, because
	// somebody listens. Needs CAP_BPF and CAP_PERFMON, or root.
	[[nodiscard]] static expected<event_witness> listen();

	[[nodiscard]] expected<void> watch(pid_t process); // count what it reads
	[[nodiscard]] std::uint64_t sent() const noexcept;
	[[nodiscard]] std::uint64_t read() const noexcept; // by the process that is watched
	// Reads of anything, by anybody, that were not looked at: the kernel does not run a program that it is running already.
	[[nodiscard]] std::uint64_t not_looked_at() const noexcept;

private:
	struct closer {
		void operator()(witness_bpf *skeleton) const noexcept;
	};
	using skeleton = std::unique_ptr<witness_bpf, closer>;
	event_witness(skeleton programs, descriptor socket) noexcept
		: skeleton_(std::move(programs)), socket_(std::move(socket))
	{
	}

	skeleton skeleton_;
	descriptor socket_;
};

} // namespace pm::bpf
