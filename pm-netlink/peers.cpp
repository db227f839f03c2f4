// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/peers.hpp"

namespace pm::netlink {

void peers::add(const pm_addr &peer, const announcement &heard)
{
	const auto [at, is_new] = known_.try_emplace(peer);
	if (is_new) {
		order_.push_back(peer);
		if (order_.size() > most_peers) {
			known_.erase(order_.front());
			order_.pop_front();
		}
	}
	std::vector<announcement> &all = at->second;
	std::erase_if(all, [&](const announcement &one) {
		return one.id == heard.id || (same(one.address, heard.address) && one.port == heard.port);
	});
	if (all.size() < most_of_one)
		all.push_back(heard);
}

// A peer whose last announcement is gone stays listed until it makes room: it may well announce again.
void peers::remove(const pm_addr &peer, std::uint8_t id)
{
	if (const auto at = known_.find(peer); at != known_.end())
		std::erase_if(at->second, [&](const announcement &one) { return one.id == id; });
}

const std::vector<peers::announcement> &peers::of(const pm_addr &peer) const
{
	static const std::vector<announcement> nothing;
	const auto at = known_.find(peer);
	return at == known_.end() ? nothing : at->second;
}

} // namespace pm::netlink
