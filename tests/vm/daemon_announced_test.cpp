// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The daemon on a kernel that keeps what peers announce: one that was not there to hear it knows it all the same.
#include <gtest/gtest.h>

#include "pm-core/address.hpp"
#include "pm-netlink/commander.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using netlink::commander;

constexpr std::size_t many = 200;

TEST(daemon_announced, started_late_gives_each_connection_the_paths_that_were_announced_to_it)
{
	scene s;
	must(s.world.client.set_sysctl("net.mptcp.pm_type", "1"));
	const netlink::mib heard = counter_in(s.world.client, "AddAddr");
	const attachment server(s.world.server, {"announce"});
	s.connections.open(many);
	constexpr std::uint64_t announced = 3 * many; // path 1 by IPv4, both by IPv6
	EXPECT_TRUE(await(scene::patience, [&] { return server.figure("/commands/announce") == announced; }));
	EXPECT_TRUE(await(scene::patience, [&] { return heard.read().value_or(0) >= announced; }));
	daemon_process &daemon = s.manage({"fullmesh"});
	s.expect_paths(all_pairs(2), 60);
	EXPECT_EQ(daemon.figure("/announcements/recovered"), announced);
	EXPECT_EQ(daemon.figure("/announcements/unrecovered_connections"), 0u);
}

TEST(daemon_announced, after_kill_9_knows_what_was_announced_to_the_one_before)
{
	scene s;
	const attachment server(s.world.server, {"announce"});
	daemon_process &first = s.manage({"single-per-interface"}); // has no use for it
	s.connections.open(many);
	EXPECT_TRUE(await(scene::patience, [&] { return first.figure("/announcements/heard") >= many; }));
	first.kill_at_once();
	daemon_process &second = s.manage({"fullmesh"});
	s.expect_paths(all_pairs(2), 60);
	EXPECT_EQ(second.figure("/announcements/unrecovered_connections"), 0u);
}

TEST(daemon_announced, beyond_64_addresses_are_not_kept)
{
	constexpr unsigned announced = 80, kept = 64; // MPTCP_PM_REMOTES_MAX
	scene s;
	for (const netns *end : {&s.world.client, &s.world.server})
		must(end->set_sysctl("net.mptcp.pm_type", "1"));
	const netlink::mib heard = counter_in(s.world.client, "AddAddr"),
			   dropped = counter_in(s.world.client, "AddAddrDrop");
	commander commands = must(in_namespace(s.world.server, [] { return commander::open(); }));
	s.connections.open(1);
	pm_command announce{};
	announce.type = PM_ANNOUNCE;
	announce.token = s.server.list().connections.at(0).token;
	for (unsigned id = 1; id <= announced; ++id) {
		const std::uint64_t before = heard.read().value_or(0);
		announce.local = ipv4(10, 100, 0, static_cast<u8>(id));
		announce.local_id = static_cast<u8>(id);
		commands.queue(announce);
		int error = 0;
		must(commands.exchange([&](const netlink::command_answer &answer) { error = answer.error; }));
		ASSERT_EQ(error, 0);
		ASSERT_TRUE(await(scene::patience, [&] { return heard.read().value_or(0) > before; })) << id;
	}
	EXPECT_EQ(dropped.read().value_or(0), announced - kept);
	EXPECT_EQ(s.manage({"fullmesh"}).figure("/announcements/recovered"), kept);
}

} // namespace
