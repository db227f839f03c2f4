// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The local addresses of a network namespace that paths may start from, over rtnetlink (libnl-route-3). Level-triggered
// like everything here: a notification, or the loss of one, only says that it is time to list again.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "pm-core/types.h"
#include "pm-netlink/error.hpp"
#include "pm-netlink/libnl.hpp"

namespace pm::netlink {

// Which addresses to use. No interfaces given: those of all; no prefixes given: all.
struct address_filter {
	struct prefix {
		pm_addr address{};
		unsigned length =
			0; // of the 128 bits: an IPv4 /24 is 120. Below 96 it is of IPv6 alone: ::/0 has no IPv4
	};
	std::vector<std::string> interfaces; // names, or shell patterns (fnmatch)
	std::vector<prefix> prefixes;
};
// "10.0.0.0/8", or one address: "fd00::1". Bits of the address beyond the length are dropped.
[[nodiscard]] expected<address_filter::prefix> parse_prefix(const std::string &text);

struct local_address {
	pm_addr address;
	std::uint32_t ifindex;
};

// The events that make `known` into the list: first what is gone, whose places may be needed, then what there is.
[[nodiscard]] std::vector<pm_event> changes(const pm_namespace &known, const std::vector<local_address> &listed);

class address_source {
public:
	// In the calling thread's network namespace.
	[[nodiscard]] static expected<address_source> open(address_filter filter);

	[[nodiscard]] int fd() const noexcept
	{
		return nl_socket_get_fd(news_.get());
	} // readable: something has changed
	// Empties the socket, or, while it fills as fast, reads a bounded part; true if anything may have changed since the last call (a lost notification included).
	[[nodiscard]] expected<bool> changed();
	// The addresses now, in the order of interface and address, so that the same addresses are listed in the same order:
	// of interfaces that are up and running; no loopback, link-local, multicast, tentative, failed or deprecated address,
	// and none whose scope is the link or the host.
	[[nodiscard]] expected<std::vector<local_address>> list();
	[[nodiscard]] std::uint64_t overruns() const noexcept { return overruns_; } // of the notification socket

private:
	address_source(nl_socket requests, nl_socket news, address_filter filter) noexcept
		: requests_(std::move(requests)), news_(std::move(news)), filter_(std::move(filter))
	{
	}

	nl_socket requests_, news_;
	address_filter filter_;
	std::uint64_t overruns_ = 0;
};

} // namespace pm::netlink
