// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The daemon dies, or comes late: whoever follows finds the connections that there are, and gives each exactly its paths.
#include <atomic>
#include <future>
#include <iostream>

#include <gtest/gtest.h>

#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;

constexpr std::size_t many = 5000, most = 9000; // with two files each, of the 20,000 that some machines allow

// Linux 6.15 has path managers by name; before, there are two, by number.
std::string path_manager_of(const netns &where)
{
	const auto name = where.get_sysctl("net.mptcp.path_manager");
	return name ? *name : must(where.get_sysctl("net.mptcp.pm_type"));
}

paths both_paths() { return {{from_to(0, 0), 1}, {from_to(1, 0), 1}}; }

TEST(daemon_restart, after_kill_9_amid_5000_connections_leaves_none_without_its_paths_and_no_path_twice)
{
	scene s(2);
	const std::string before = path_manager_of(s.world.client);
	daemon_process *daemon = &s.manage({"fullmesh"});
	EXPECT_NE(path_manager_of(s.world.client), before);
	std::atomic<bool> killed = false;
	auto opening = std::async(std::launch::async, [&] { // for as long as somebody is killed, within bounds
		while (s.connections.size() < many || (!killed && s.connections.size() < most))
			s.connections.open(100);
	});
	for (const std::size_t at : {500u, 1500u, 2500u}) {
		EXPECT_TRUE(await(scene::patience, [&] { return daemon->figure("/connections/open") >= at; }));
		daemon->kill_at_once();
		EXPECT_NE(path_manager_of(s.world.client), before);
		daemon = &s.manage({"fullmesh"}); // on the same lock and the same status socket
	}
	killed = true;
	opening.get();
	std::cout << s.connections.size() << " connections have their paths " << s.expect_paths(both_paths())
		  << " s after the last\n";
	s.expect_paths_to_stay(both_paths(), *daemon);
	EXPECT_EQ(s.joins_asked_for(), s.connections.size());
	EXPECT_EQ(daemon->figure("/connections/open"), s.connections.size());
	daemon->stop();
	EXPECT_EQ(path_manager_of(s.world.client), before); // although its own start found another one
}

TEST(daemon_restart, an_orderly_one_keeps_the_paths_that_there_are)
{
	scene s(2);
	must(s.world.client.set_sysctl("net.mptcp.pm_type", "1")); // what is between the two is not the kernel's either
	s.manage({"fullmesh"}).stop();
	daemon_process &first = s.manage({"fullmesh"});
	s.connections.open(100);
	s.expect_paths(both_paths());
	first.stop();
	const std::uint64_t joins = s.joins_asked_for();
	s.connections.open(100);
	daemon_process &second = s.manage({"fullmesh"});
	s.expect_paths_to_stay(both_paths(), second);
	EXPECT_EQ(s.joins_asked_for(), joins + 100);
}

TEST(daemon_restart, started_late_adopts_5000_connections)
{
	scene s(2);
	must(s.world.client.set_sysctl("net.mptcp.pm_type", "1"));
	const std::string before = path_manager_of(s.world.client);
	s.connections.open(many);
	daemon_process &daemon = s.manage({"fullmesh"});
	std::cout << "5,000 connections have their paths " << s.expect_paths(both_paths())
		  << " s after the daemon is ready\n";
	s.expect_paths_to_stay(both_paths(), daemon);
	EXPECT_EQ(s.joins_asked_for(), many);
	EXPECT_EQ(daemon.figure("/resyncs/adopted"), many);
	daemon.stop();
	EXPECT_EQ(path_manager_of(s.world.client), before);
}

} // namespace
