// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/peers.hpp"

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::netlink;
using namespace pm::test;

namespace {

// The Nth peer of many.
pm_addr peer(std::uint32_t n)
{
	return ipv4(10, static_cast<u8>(n >> 16), static_cast<u8>(n >> 8), static_cast<u8>(n));
}

// Announcements as "id:address:port", where an address is 10.0.N.2.
using texts = std::set<std::string>;
texts known(const peers &all, const pm_addr &of = peer(1))
{
	texts some;
	for (const peers::announcement &each : all.of(of))
		some.insert(std::to_string(each.id) + ':' + std::to_string(each.address.bytes[14]) + ':' +
			    std::to_string(each.port));
	return some;
}

TEST(peers, know_nothing_of_a_peer_that_has_announced_nothing)
{
	peers all;
	EXPECT_TRUE(all.of(peer(1)).empty());
	all.remove(peer(1), 3);
	EXPECT_TRUE(all.of(peer(1)).empty());
}

TEST(peers, keep_what_each_announced_apart)
{
	peers all;
	all.add(peer(1), {remote4(2), 0, 1});
	all.add(peer(1), {remote4(3), 8080, 2});
	all.add(peer(2), {remote4(4), 0, 1});
	EXPECT_EQ(known(all, peer(1)), (texts{"1:2:0", "2:3:8080"}));
	EXPECT_EQ(known(all, peer(2)), texts{"1:4:0"});
	all.remove(peer(1), 1);
	EXPECT_EQ(known(all, peer(1)), texts{"2:3:8080"});
	EXPECT_EQ(known(all, peer(2)), texts{"1:4:0"});
	all.remove(peer(1), 9);
	EXPECT_EQ(known(all, peer(1)), texts{"2:3:8080"}) << "an id that nothing has";
}

TEST(peers, tell_peers_of_both_families_apart)
{
	peers all;
	all.add(remote4(1), {remote4(2), 0, 1});
	all.add(remote6(1), {remote6(2), 0, 2});
	ASSERT_EQ(all.of(remote4(1)).size(), 1u);
	ASSERT_EQ(all.of(remote6(1)).size(), 1u);
	EXPECT_TRUE(same(all.of(remote6(1))[0].address, remote6(2)));
}

struct heard {
	const char *when;
	std::vector<peers::announcement> announcements;
	texts known;
};

TEST(peers, believe_what_was_announced_last)
{
	const heard table[] = {
		{"the same again", {{remote4(2), 0, 1}, {remote4(2), 0, 1}}, {"1:2:0"}},
		{"another address with an id that was used", {{remote4(2), 0, 1}, {remote4(3), 0, 1}}, {"1:3:0"}},
		{"another id for an address that is known", {{remote4(2), 0, 1}, {remote4(2), 0, 5}}, {"5:2:0"}},
		{"another port under the same id", {{remote4(2), 0, 1}, {remote4(2), 8080, 1}}, {"1:2:8080"}},
		{"an address with another port is another place",
		 {{remote4(2), 0, 1}, {remote4(2), 8080, 2}},
		 {"1:2:0", "2:2:8080"}},
		{"an id that moves to an address which had another one",
		 {{remote4(2), 0, 1}, {remote4(3), 0, 2}, {remote4(3), 0, 1}},
		 {"1:3:0"}},
	};
	for (const heard &each : table) {
		peers all;
		for (const peers::announcement &one : each.announcements)
			all.add(peer(1), one);
		EXPECT_EQ(known(all), each.known) << each.when;
	}
}

TEST(peers, keep_as_many_of_one_as_a_connection_has_room_for)
{
	peers all;
	for (unsigned n = 1; n <= 2 * peers::most_of_one; ++n)
		all.add(peer(1), {remote4(static_cast<u8>(n)), 0, static_cast<u8>(n)});
	EXPECT_EQ(all.of(peer(1)).size(), peers::most_of_one);
	all.remove(peer(1), 1);
	all.add(peer(1), {remote4(99), 0, 99});
	EXPECT_EQ(known(all).count("99:99:0"), 1u) << "there is room again";
}

TEST(peers, make_room_for_new_ones_by_forgetting_the_oldest)
{
	constexpr auto most = static_cast<std::uint32_t>(peers::most_peers);
	peers all;
	for (std::uint32_t n = 0; n < most; ++n)
		all.add(peer(n), {remote4(2), 0, 1});
	EXPECT_EQ(all.of(peer(0)).size(), 1u);
	for (std::uint32_t n = 0; n < 10; ++n)
		all.add(peer(most + n), {remote4(2), 0, 1});
	for (std::uint32_t n = 0; n < most + 10; ++n)
		ASSERT_EQ(all.of(peer(n)).size(), n < 10 ? 0u : 1u) << n;
	all.add(peer(0), {remote4(3), 0, 1});
	EXPECT_EQ(known(all, peer(0)), texts{"1:3:0"}) << "one that was forgotten may come back";
}

// A peer whose announcements went and came does not take up more than one place.
TEST(peers, count_a_peer_once)
{
	peers all;
	for (std::uint32_t n = 0; n < 3 * peers::most_peers; ++n) {
		all.add(peer(1), {remote4(2), 0, 1});
		all.remove(peer(1), 1);
	}
	all.add(peer(1), {remote4(2), 0, 1});
	for (std::uint32_t n = 2; n <= peers::most_peers; ++n)
		all.add(peer(n), {remote4(2), 0, 1});
	EXPECT_EQ(all.of(peer(1)).size(), 1u);
	all.add(peer(0), {remote4(2), 0, 1});
	EXPECT_TRUE(all.of(peer(1)).empty());
}

RC_GTEST_PROP(peers_property, an_id_names_one_address_and_an_address_has_one_id,
	      (std::vector<std::tuple<std::uint8_t, std::uint8_t, std::uint8_t>> actions))
{
	peers all;
	for (const auto &[what, id, address] : actions) {
		const auto its = static_cast<u8>(id % 10);
		if (what % 4 == 0)
			all.remove(peer(1), its);
		else
			all.add(peer(1), {remote4(address % 10), static_cast<std::uint16_t>(what % 2), its});
		std::set<unsigned> ids;
		std::set<std::pair<unsigned, unsigned>> addresses;
		for (const peers::announcement &each : all.of(peer(1))) {
			ids.insert(each.id);
			addresses.insert({each.address.bytes[14], each.port});
		}
		RC_ASSERT(all.of(peer(1)).size() <= peers::most_of_one);
		RC_ASSERT(ids.size() == all.of(peer(1)).size());
		RC_ASSERT(addresses.size() == all.of(peer(1)).size());
	}
}

} // namespace
