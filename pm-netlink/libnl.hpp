// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What every user of libnl-3 here needs: owners of what it allocates, its errors as ours, a connected socket.
#pragma once

#include <memory>
#include <string>

#include <netlink/netlink.h>

#include "pm-netlink/error.hpp"

namespace pm {

// Owns what libnl allocates, given the function that releases it.
template <auto release>
struct nl_release {
	void operator()(auto *object) const noexcept { release(object); }
};
using nl_socket = std::unique_ptr<nl_sock, nl_release<nl_socket_free>>;

[[nodiscard]] tl::unexpected<error> fail_nl(const std::string &what, int code); // a negative code of libnl
[[nodiscard]] expected<nl_socket> connect_netlink(int protocol);

} // namespace pm
