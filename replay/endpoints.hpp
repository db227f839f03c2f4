// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The endpoints of the kernel's own path manager, of the calling thread's network namespace (what `ip mptcp` sets).
#pragma once

#include <cstdint>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::replay {

class endpoints {
public:
	[[nodiscard]] static expected<endpoints> open();

	[[nodiscard]] expected<void> set_limits() const; // as high as they go: 8 subflows beyond the first, 8 addresses
	// MPTCP_PM_ADDR_FLAG_*. id 0: the kernel chooses. interface: what subflows are bound to; 0: nothing, they are routed.
	[[nodiscard]] expected<void> add(const pm_addr &address, std::uint32_t flags, std::uint8_t id = 0,
					 unsigned interface = 0) const;
	[[nodiscard]] expected<void> remove(const pm_addr &address, std::uint8_t id) const;

private:
	endpoints(nl_socket socket, int family) noexcept : socket_(std::move(socket)), family_(family) {}
	[[nodiscard]] int send(std::uint8_t command, const pm_addr &address, std::uint32_t flags, std::uint8_t id,
			       unsigned interface) const;
	nl_socket socket_;
	int family_;
};

inline constexpr unsigned most_kernel_subflows = 8; // of a connection, beyond the first: the most that the limits allow

} // namespace pm::replay
