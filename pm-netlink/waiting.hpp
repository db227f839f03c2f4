// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a loop waits with: one epoll descriptor for its sockets, its timer, and its own reminder that there is more to do.
#pragma once

#include <cstdint>
#include <optional>

#include "pm-netlink/netns.hpp"

namespace pm::netlink {

class waiting {
public:
	[[nodiscard]] static expected<waiting> create();

	// Readable: one of the watched is, or it is time, or there is more to do.
	[[nodiscard]] int fd() const noexcept { return poll_.get(); }
	// Until it is closed.
	[[nodiscard]] expected<void> watch(int fd);
	void wake_up() noexcept; // there is more to do
	void wake_up_at(std::optional<std::uint64_t> due) noexcept; // on the clock of now_ns(); or not at all
	void woke_up() noexcept; // what it was for is being done

private:
	waiting() = default;

	descriptor poll_, timer_, more_;
	std::optional<std::uint64_t> due_;
};

} // namespace pm::netlink
