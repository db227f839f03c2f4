// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Every policy in the real daemon, with real connections: each has exactly the paths that it should, at both ends, and
// keeps them.
#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <net/if.h>

#include "pm-core/address.hpp"
#include "replay/links.hpp"
#include "tests/support/scene.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

struct path_case {
	std::string name;
	unsigned number; // of paths between the two
	socket_kind kind;
	words at_client, at_server; // none at the server's: it announces nothing
	paths expected;
	unsigned connections = 20;
	friend void PrintTo(const path_case &one, std::ostream *out) { *out << one.name; }
};

paths on_initial(unsigned subflows, bool ipv6 = false) { return {{from_to(0, 0, ipv6), subflows}}; }

// From every address of the client to the one that the connection was opened to.
paths to_initial(unsigned number_of_paths, bool ipv6 = false)
{
	paths all;
	for (unsigned here = 0; here < number_of_paths; ++here)
		all[from_to(here, 0, ipv6)] = 1;
	return all;
}

paths all_pairs_of_both(unsigned number_of_paths)
{
	paths all = all_pairs(number_of_paths);
	all.merge(all_pairs(number_of_paths, true));
	return all;
}

const char *name_of(socket_kind kind)
{
	return kind == socket_kind::ipv4 ? "ipv4" : kind == socket_kind::ipv6 ? "ipv6" : "mapped";
}

std::vector<path_case> path_cases()
{
	const words announcing{"announce"};
	std::vector<path_case> all;
	const auto add = [&](const std::string &what, unsigned number, socket_kind kind, const words &client,
			     const words &server, const paths &expected) {
		const std::string name = what + "_with_" + std::to_string(number) + "_paths_" + name_of(kind);
		all.push_back({name, number, kind, client, server, expected});
	};
	for (const unsigned number : {2u, 4u})
		for (const socket_kind kind : {socket_kind::ipv4, socket_kind::ipv6, socket_kind::mapped}) {
			const bool ipv6 = kind == socket_kind::ipv6;
			add("ndiffports", number, kind, {"ndiffports"}, {}, on_initial(2, ipv6));
			add("ndiffports_of_4", number, kind, {"ndiffports", "--set", "subflows=4"}, {},
			    on_initial(4, ipv6));
			add("fullmesh", number, kind, {"fullmesh"}, {}, to_initial(number, ipv6));
			add("fullmesh_and_announce", number, kind, {"fullmesh"}, announcing,
			    kind == socket_kind::ipv4 ? all_pairs(number) : all_pairs_of_both(number));
			add("single_per_interface", number, kind, {"single-per-interface"}, {},
			    to_initial(number, ipv6));
			add("backup", number, kind, {"backup", "--set", "backup-interface=p1"}, {},
			    to_initial(number, ipv6));
		}
	add("single_per_interface_and_announce", 2, socket_kind::ipv4, {"single-per-interface"}, announcing,
	    to_initial(2));
	add("fullmesh_on_some_interfaces", 4, socket_kind::ipv4,
	    {"fullmesh", "--set", "interface=p0", "--set", "interface=p2"}, {},
	    {{from_to(0, 0), 1}, {from_to(2, 0), 1}});
	return all;
}

class daemon_paths : public testing::TestWithParam<path_case> {};

TEST_P(daemon_paths, are_exactly_those_of_the_policy_at_both_ends)
{
	const path_case &tried = GetParam();
	scene s(tried.number);
	if (!tried.at_server.empty())
		(void)s.manage(tried.at_server, &s.world.server);
	daemon_process &daemon = s.manage(tried.at_client);
	s.connections.open(tried.connections, tried.kind);
	s.expect_paths_to_stay(tried.expected, daemon);
	// None was opened in vain, or twice.
	EXPECT_EQ(s.joins_asked_for(), tried.connections * (count(tried.expected) - 1));
	const auto status = daemon.status();
	EXPECT_EQ(status.at("events").at("lost"), 0);
	EXPECT_EQ(status.at("connections").at("open"), tried.connections);
	EXPECT_EQ(status.at("subflows").at("established"), tried.connections * count(tried.expected));
	EXPECT_TRUE(status.at("commands").at("refused").empty()) << status.at("commands");
}

INSTANTIATE_TEST_SUITE_P(live, daemon_paths, testing::ValuesIn(path_cases()),
			 [](const auto &given) { return given.param.name; });

// Which subflows of the crowd have a flag, by path.
paths with_flag(path_reader &reader, bool netlink::snapshot_subflow::*flag)
{
	const auto listed = reader.list();
	paths all;
	for (const auto &each : listed.subflows) {
		if (!(each.*flag))
			continue;
		for (unsigned from = 0; from < 4; ++from)
			for (const bool ipv6 : {false, true})
				if (same(each.local, lab::client_address(from, ipv6)) ||
				    same(each.remote, lab::client_address(from, ipv6)))
					++all[from_to(from, 0, ipv6)];
	}
	return all;
}

TEST(daemon_backup, flags_the_subflows_of_its_interface_and_no_others_at_both_ends)
{
	for (const bool ipv6 : {false, true}) {
		scene s(3);
		(void)s.manage({"backup", "--set", "backup-interface=p2"});
		s.connections.open(10, ipv6 ? socket_kind::ipv6 : socket_kind::ipv4);
		s.expect_paths(to_initial(3, ipv6));
		const paths expected{{from_to(2, 0, ipv6), 10}};
		EXPECT_EQ(with_flag(s.client, &netlink::snapshot_subflow::asked_backup), expected);
		EXPECT_EQ(with_flag(s.server, &netlink::snapshot_subflow::backup), expected);
	}
}

TEST(daemon_backup, flags_the_initial_subflow_too)
{
	for (const socket_kind kind : {socket_kind::ipv4, socket_kind::ipv6, socket_kind::mapped}) {
		const bool ipv6 = kind == socket_kind::ipv6;
		scene s(2);
		(void)s.manage({"backup", "--set", "backup-interface=p0"});
		s.connections.open(10, kind);
		s.expect_paths(to_initial(2, ipv6));
		const paths expected{{from_to(0, 0, ipv6), 10}};
		EXPECT_TRUE(await(scene::patience, [&] {
			return with_flag(s.client, &netlink::snapshot_subflow::asked_backup) == expected &&
			       with_flag(s.server, &netlink::snapshot_subflow::backup) == expected;
		})) << name_of(kind);
	}
}

// ---- an address goes ----

class daemon_address : public testing::TestWithParam<socket_kind> {
protected:
	const bool ipv6 = GetParam() == socket_kind::ipv6;

	static void remove(const netns &where, unsigned from, const pm_addr &address)
	{
		must(in_namespace(where, [&]() -> expected<void> {
			auto links = replay::links::open();
			return links ? links->remove_address("p" + std::to_string(from), address)
				     : tl::unexpected(links.error());
		}));
	}
	// Either end: the other one may believe in them for longer, for from an address that is gone nothing can be said.
	static void expect_at(path_reader &end, const paths &expected, const daemon_process &daemon)
	{
		std::string wrong;
		EXPECT_TRUE(await(5,
				  [&] {
					  wrong = difference(end.by_connection(), open_connections, expected);
					  return wrong.empty();
				  }))
			<< wrong << daemon.status().at("commands");
	}
	static constexpr std::size_t open_connections = 10;
};

TEST_P(daemon_address, of_the_client_takes_its_subflows_along)
{
	for (const unsigned gone : {0u, 1u}) { // the address of the initial subflow is one like others
		scene s;
		daemon_process &daemon = s.manage({"fullmesh"});
		s.connections.open(open_connections, GetParam());
		s.expect_paths(to_initial(2, ipv6));
		remove(s.world.client, gone, lab::client_address(gone, ipv6));
		expect_at(s.client, {{from_to(1 - gone, 0, ipv6), 1}}, daemon);
	}
}

TEST_P(daemon_address, of_the_server_takes_its_subflows_along)
{
	scene s;
	daemon_process &server = s.manage({"announce"}, &s.world.server), &client = s.manage({"fullmesh"});
	s.connections.open(open_connections, GetParam());
	paths expected = GetParam() == socket_kind::ipv4 ? all_pairs(2) : all_pairs_of_both(2);
	s.expect_paths(expected);
	remove(s.world.server, 1, lab::server_address(1, ipv6));
	expected.erase(from_to(0, 1, ipv6));
	expected.erase(from_to(1, 1, ipv6));
	expect_at(s.client, expected, client);
	expect_at(s.server, seen_from_the_server(expected), server);
}

INSTANTIATE_TEST_SUITE_P(live, daemon_address,
			 testing::Values(socket_kind::ipv4, socket_kind::ipv6, socket_kind::mapped),
			 [](const auto &given) { return std::string{name_of(given.param)}; });

} // namespace
