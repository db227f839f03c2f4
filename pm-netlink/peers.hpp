// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What peers have announced, by peer. Most kernels keep no announcement (ADD_ADDR) that they have told us of, and the peer does
// not repeat it: where one was missed, all there is to go by is what other connections to the same peer have shown. A
// peer is the address that its connections were opened to; it is taken to be the same host for all of them.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "pm-core/address.hpp"
#include "pm-core/types.h"

namespace pm::netlink {

class peers {
public:
	struct announcement {
		pm_addr address;
		std::uint16_t port; // 0: that of the initial subflow
		std::uint8_t id;
	};
	static constexpr std::size_t most_peers = 4096; // the one that was learnt of first makes room
	static constexpr std::size_t most_of_one = PM_MAX_REMOTES - 1;

	void add(const pm_addr &peer, const announcement &heard);
	void remove(const pm_addr &peer, std::uint8_t id);
	[[nodiscard]] const std::vector<announcement> &of(const pm_addr &peer) const; // empty: nothing is known

private:
	struct hash {
		std::size_t operator()(const pm_addr &a) const noexcept
		{
			return static_cast<std::size_t>(
				(a.half[0] * 0x9e3779b97f4a7c15u ^ a.half[1]) * 0xff51afd7ed558ccdu >> 7);
		}
	};
	struct equal {
		bool operator()(const pm_addr &a, const pm_addr &b) const noexcept { return same(a, b); }
	};
	std::unordered_map<pm_addr, std::vector<announcement>, hash, equal> known_;
	std::deque<pm_addr> order_; // in which they were learnt of
};

} // namespace pm::netlink
