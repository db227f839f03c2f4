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

	// To the subnet of an IPv6 address, through a gateway on that link; one with a lower metric is preferred.
	[[nodiscard]] expected<void> add_route(const std::string &name, const pm_addr &subnet, const pm_addr &gateway,
					       unsigned metric);
	// What leaves through it is put off by `delay_us` and does not exceed `megabits` a second; 0: neither.
	[[nodiscard]] expected<void> shape(const std::string &name, unsigned delay_us, unsigned megabits);

private:
	explicit links(nl_socket socket) noexcept : socket_(std::move(socket)) {}
	[[nodiscard]] expected<void> bring(const std::string &name, bool up);
	nl_socket socket_;
};

} // namespace pm::replay
