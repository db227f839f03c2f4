// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The laboratory: a client and a server namespace joined by K veth pairs, each path with an IPv4 and an IPv6 subnet.
// Built over rtnetlink (libnl-route-3) and the endpoints of the kernel's own path manager (generic netlink); nothing
// has a name outside this process, so nothing can be left behind. Opens no connections; see load.hpp.
#pragma once

#include <cstdint>
#include <sys/socket.h>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::replay {

// The ports that connections of a laboratory begin from.
inline constexpr std::uint16_t first_client_port = 1024, last_client_port = 65535;

struct lab_options {
	unsigned paths = 2; // 1..8
	bool endpoints = true; // the kernel's path manager: the client opens a subflow from, the server
		// announces (ADD_ADDR), each of its addresses on path 1 and beyond
	bool announce = true; // with endpoints: false leaves out those of the server
};

class lab {
public:
	// When it returns, packets have gone both ways on every path in both families. Needs CAP_SYS_ADMIN and
	// CAP_NET_ADMIN. 6.18 takes 8 endpoints a namespace: with endpoints, no more than 5 paths.
	[[nodiscard]] static expected<lab> create(const lab_options &options);

	netns client, server;

	// Address of a side on a path (counted from 0), in a family: 10.0.(path+1).1, fd00:(path+1)::1; the server's
	// end in 2.
	[[nodiscard]] static pm_addr client_address(unsigned path, bool ipv6);
	[[nodiscard]] static pm_addr server_address(unsigned path, bool ipv6);
	// Of the path's link, at both ends.
	[[nodiscard]] static std::string link_name(unsigned path);

private:
	lab(netns c, netns s) noexcept : client(std::move(c)), server(std::move(s)) {}
};

// An address and a port (in host order), as the socket calls take them.
struct socket_address {
	sockaddr_storage storage{};
	socklen_t length = 0;
	[[nodiscard]] const sockaddr *get() const noexcept { return reinterpret_cast<const sockaddr *>(&storage); }
};
[[nodiscard]] socket_address to_sockaddr(const pm_addr &address, std::uint16_t port) noexcept;

} // namespace pm::replay
