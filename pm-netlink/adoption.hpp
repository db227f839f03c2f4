// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Makes what is known of the connections of a namespace into what the kernel lists: the second half of a resync, of which
// snapshot.hpp is the first. What comes of it reaches the engine as events, like everything else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "pm-netlink/manager.hpp"
#include "pm-netlink/peers.hpp"
#include "pm-netlink/snapshot.hpp"

namespace pm::netlink {

struct adoption {
	std::uint64_t adopted = 0; // connections that were not known
	std::uint64_t dropped = 0; // known ones that do not exist any more
	std::uint64_t recovered = 0; // announcements that were not heard: from the kernel's list, or from what other
		// connections to the same peer showed
	std::uint64_t unrecovered = 0; // connections of this host whose peer may have announced what nobody here heard
};

// What the peer of a connection has announced, if the kernel keeps that: see announced_list.hpp.
using kernels_list = std::function<std::optional<std::vector<peers::announcement>>(std::uint32_t token)>;

// `handle` brings an event to `known`. `announcements_missed`: some may never have been heard. Connections that are not
// fully established yet are left as they are: what comes next of them is told by an event.
[[nodiscard]] adoption adopt(const snapshot &listed, const manager &known, peers &announced, bool announcements_missed,
			     const kernels_list &kept, const std::function<void(const pm_event &)> &handle);

// Of events that came while the list was read, those to handle after its adoption. Left out is the end of a subflow that was
// over before the list was read, and the refusal of a command about one: the adoption may have asked for another subflow in its
// place, and this would be taken for news of that.
[[nodiscard]] std::vector<pm_event> still_news(const snapshot &listed, const std::vector<pm_event> &came_meanwhile);

} // namespace pm::netlink
