// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// How many netlink commands of a process the kernel has refused with a reason: see refusals.bpf.c.
#pragma once

#include <cstdint>
#include <memory>

#include <sys/types.h>

#include "pm-netlink/error.hpp"

struct refusals_bpf;

namespace pm::bpf {

class refusal_counter {
public:
	[[nodiscard]] static expected<refusal_counter> attach(pid_t process);
	[[nodiscard]] std::uint64_t count() const noexcept;

private:
	struct closer {
		void operator()(refusals_bpf *skeleton) const noexcept;
	};
	explicit refusal_counter(std::unique_ptr<refusals_bpf, closer> skeleton) : skeleton_(std::move(skeleton)) {}

	std::unique_ptr<refusals_bpf, closer> skeleton_;
};

} // namespace pm::bpf
