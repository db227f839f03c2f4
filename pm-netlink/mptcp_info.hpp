// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What an MPTCP socket says of its connection: getsockopt(MPTCP_INFO), see include/uapi/linux/mptcp.h.
#pragma once

#include <optional>

#include <linux/mptcp.h>
#include <sys/socket.h>

// Older C libraries and kernel headers lack them.
#ifndef SOL_MPTCP
#define SOL_MPTCP 284
#endif
#ifndef MPTCP_INFO
#define MPTCP_INFO 1
#endif
#ifndef MPTCP_TCPINFO
#define MPTCP_TCPINFO 2
#endif

namespace pm {

// Nothing for a socket that is none of MPTCP, or has fallen back to TCP.
[[nodiscard]] inline std::optional<mptcp_info> read_mptcp_info(int fd) noexcept
{
	mptcp_info info{};
	socklen_t length = sizeof info;
	if (::getsockopt(fd, SOL_MPTCP, MPTCP_INFO, &info, &length) != 0 ||
	    (info.mptcpi_flags & MPTCP_INFO_FLAG_FALLBACK))
		return std::nullopt;
	return info;
}

} // namespace pm
