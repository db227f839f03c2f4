// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the peer of a connection has announced and not taken back, as the kernel lists it. Only one with kernel-patches/ keeps
// that (MPTCP_PM_CMD_GET_REMOTE_ADDR); with others, what was not heard is lost: see peers.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "pm-netlink/codec.hpp"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"
#include "pm-netlink/peers.hpp"

namespace pm::netlink {

// One entry of the kernel's answer: a whole message. Nothing: it is none.
[[nodiscard]] std::optional<peers::announcement> decode_announcement(bytes message, std::uint16_t family) noexcept;

class announced_list {
public:
	// In the calling thread's network namespace. Needs CAP_NET_ADMIN there.
	[[nodiscard]] static expected<announced_list> open();

	// The kernel answers at once. Nothing: it keeps no such list, or not of this connection, or the
	// connection is gone.
	[[nodiscard]] std::optional<std::vector<peers::announcement>> of(std::uint32_t token);

private:
	announced_list(nl_socket socket, std::uint16_t family) noexcept : socket_(std::move(socket)), family_(family) {}
	[[nodiscard]] bool ask(std::uint32_t token);

	nl_socket socket_;
	std::uint16_t family_;
	std::uint32_t seq_ = 0;
	bool kept_ = true; // as far as is known
};

} // namespace pm::netlink
