// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Sends events to the real multicast group of the path manager, as the kernel would, but with our port as the sender: a
// process with CAP_NET_ADMIN may. Unmodified consumers take them for real; drops are the kernel's own.
#pragma once

#include <span>
#include <vector>

#include <linux/netlink.h>
#include <sys/socket.h>

#include "pm-netlink/family.hpp"
#include "pm-netlink/netns.hpp"
#include "replay/backend.hpp"

namespace pm::replay {

class group_sender {
public:
	static constexpr std::size_t most_at_once = 64;

	// In the calling thread's network namespace.
	[[nodiscard]] static expected<group_sender> open();

	// Sends up to most_at_once events, whose messages get the event's number and the family's number of this kernel.
	[[nodiscard]] expected<void> send(std::span<due_event> events);

	[[nodiscard]] const netlink::family &family() const noexcept { return family_; }

private:
	group_sender(descriptor socket, netlink::family family);

	descriptor socket_;
	netlink::family family_;
	sockaddr_nl group_{};
	std::vector<iovec> data_;
	std::vector<mmsghdr> headers_;
};

} // namespace pm::replay
