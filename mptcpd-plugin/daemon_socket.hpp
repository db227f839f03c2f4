// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// mptcpd's own socket for path-manager events, found among the open files of this process: mptcpd shows it to nobody. Only
// looked at from outside; who reads it is ELL.
#pragma once

#include <cstdint>

#include "pm-netlink/error.hpp"

namespace pm::plugin {

class daemon_socket {
public:
	// The first generic netlink socket of this process that is a member of multicast group `group`.
	[[nodiscard]] static expected<daemon_socket> find(std::uint32_t group);

	// How many events it has lost. After the first, ELL reads it no more.
	[[nodiscard]] std::uint32_t drops() const noexcept;
	// Asks for a receive buffer of this size, as far as the kernel grants it.
	void enlarge(std::uint32_t bytes) const noexcept;
	void leave_group() const noexcept;

private:
	daemon_socket(int fd, std::uint32_t group) noexcept : fd_(fd), group_(group) {}

	int fd_; // mptcpd's: not ours to close
	std::uint32_t group_;
};

} // namespace pm::plugin
