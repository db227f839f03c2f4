// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The guard, alone and beside a policy: what it refuses does not come about, and is counted.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/support/attachment.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;

constexpr std::size_t open_connections = 5;
constexpr const char *first_path = "10.0.1.0/24"; // of the client's addresses and the server's

paths to_initial(unsigned number_of_paths)
{
	paths all;
	for (unsigned here = 0; here < number_of_paths; ++here)
		all[from_to(here, 0)] = 1;
	return all;
}

TEST(attached_guard, lets_nobody_join_from_outside_its_prefixes)
{
	scene s(3);
	const attachment server(s.world.server, {"guard", "--allow", first_path, "--allow", "10.0.3.1"});
	const attachment client(s.world.client, {"fullmesh"});
	s.connections.open(open_connections);
	s.expect_paths({{from_to(0, 0), 1}, {from_to(2, 0), 1}});
	EXPECT_GE(server.figure("/refused/join_address"), open_connections);
	EXPECT_EQ(server.figure("/refused/join_number"), 0u);
	EXPECT_EQ(server.figure("/looks/done"), 0u) << "alone, it decides nothing";
}

TEST(attached_guard, knows_prefixes_of_both_families)
{
	scene s(2);
	const attachment server(s.world.server, {"guard", "--allow", "10.0.0.0/16", "--allow", "fd00:1::/64"});
	const attachment client(s.world.client, {"fullmesh"});
	s.connections.open(open_connections, socket_kind::ipv6);
	const paths expected{{from_to(0, 0, true), 1}};
	s.expect_paths(expected);
	EXPECT_TRUE(await(scene::patience, [&] { return server.figure("/refused/join_address") >= open_connections; }));
	s.expect_paths(expected);
}

TEST(attached_guard, takes_no_ipv4_address_for_one_within_every_ipv6_prefix)
{
	scene s(2);
	const attachment server(s.world.server, {"guard", "--allow", "10.0.1.0/24", "--allow", "::/0"});
	const attachment client(s.world.client, {"fullmesh"});
	s.connections.open(open_connections);
	EXPECT_TRUE(await(scene::patience, [&] { return server.figure("/refused/join_address") >= open_connections; }));
	s.expect_paths({{from_to(0, 0), 1}});
	s.connections.close(open_connections);
	s.connections.open(open_connections, socket_kind::ipv6);
	s.expect_paths({{from_to(0, 0, true), 1}, {from_to(1, 0, true), 1}});
}

// The client asks for the three others at once.
TEST(attached_guard, lets_no_more_join_than_its_number)
{
	constexpr std::size_t open_connections = 50;
	scene s(4);
	const attachment server(s.world.server, {"guard", "--most-subflows", "3"});
	const attachment client(s.world.client, {"fullmesh"});
	s.connections.open(open_connections);
	EXPECT_TRUE(await(scene::patience, [&] { return server.figure("/refused/join_number") >= open_connections; }));
	EXPECT_TRUE(await(scene::patience, [&] {
		const auto all = s.server.by_connection();
		return std::all_of(all.begin(), all.end(), [](const auto &each) { return count(each.second) == 3; });
	}));
}

TEST(attached_guard, beside_a_policy_takes_no_announcement_from_outside_its_prefixes)
{
	scene s(3);
	const attachment server(s.world.server, {"announce"});
	const attachment client(s.world.client, {"fullmesh", "--allow", first_path, "--allow", "10.0.3.0/24"});
	s.connections.open(open_connections);
	EXPECT_TRUE(await(scene::patience, [&] { return client.figure("/refused/announcement") >= open_connections; }));
	paths expected = to_initial(3);
	for (unsigned here = 0; here < 3; ++here)
		expected[from_to(here, 2)] = 1;
	s.expect_paths(expected);
}

TEST(attached_guard, beside_a_policy_bounds_what_that_opens)
{
	scene s(4);
	const attachment client(s.world.client, {"fullmesh", "--most-subflows", "2"});
	s.connections.open(open_connections);
	s.expect_paths({{from_to(0, 0), 1}, {from_to(1, 0), 1}});
	EXPECT_GE(client.figure("/refused/own_number"), open_connections);
	EXPECT_EQ(client.figure("/commands/open"), open_connections) << "what is not asked for is no command";
	EXPECT_EQ(client.status().at("errors"), nlohmann::json::array());
}

} // namespace
