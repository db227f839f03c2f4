// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Links and addresses of the calling thread's network namespace, over rtnetlink (libnl-route-3).
#pragma once

#include <cstdint>
#include <string>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"
#include "pm-netlink/netns.hpp"

namespace pm::replay {

class links {
public:
	[[nodiscard]] static expected<links> open();

	// A veth pair: NAME here, PEER in namespace `there` (by default here too).
	[[nodiscard]] expected<void> add_veth(const std::string &name, const std::string &peer,
					      const netns *there = nullptr);
	[[nodiscard]] expected<void> bring_up(const std::string &name);
	[[nodiscard]] expected<void> bring_down(const std::string &name); // which takes its IPv6 addresses away
	enum class prefix { subnet, host }; // /24 and /64, or the whole address
	// An IPv6 address is usable at once (no duplicate address detection). Adding what is there is no error.
	[[nodiscard]] expected<void> add_address(const std::string &name, const pm_addr &address,
						 prefix length = prefix::subnet);
	[[nodiscard]] expected<void> remove_address(const std::string &name, const pm_addr &address,
						    prefix length = prefix::subnet);

private:
	explicit links(nl_socket socket) noexcept : socket_(std::move(socket)) {}
	[[nodiscard]] expected<void> bring(const std::string &name, bool up);
	nl_socket socket_;
};

} // namespace pm::replay
