// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the kernel says of a socket's receive queue (SO_MEMINFO), ours or a consumer's.
#pragma once

#include <array>
#include <cstdint>

#include <linux/sock_diag.h>
#include <sys/socket.h>

namespace pm {

struct socket_memory {
	std::uint32_t queued_bytes = 0;  // charged for what is in the receive queue
	std::uint32_t drops = 0;         // wraps
};

[[nodiscard]] inline socket_memory memory_of(int socket) noexcept
{
	std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
	socklen_t size = sizeof memory;
	if (getsockopt(socket, SOL_SOCKET, SO_MEMINFO, memory.data(), &size) != 0)
		return {};
	return {memory[SK_MEMINFO_RMEM_ALLOC], memory[SK_MEMINFO_DROPS]};
}

} // namespace pm
