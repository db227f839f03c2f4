// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "tests/support/path_checks.hpp"

#include <string>

#include <gtest/gtest.h>

#include "pm-core/address.hpp"

namespace pm::test {

using replay::lab;

namespace {

constexpr std::size_t open_connections = 10;

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

// Either end: the other one hears of what went a little later.
void expect_at(path_reader &end, const paths &expected, const charge &in_charge)
{
	std::string wrong;
	EXPECT_TRUE(await(5,
			  [&] {
				  wrong = difference(end.by_connection(), open_connections, expected);
				  return wrong.empty();
			  }))
		<< wrong << in_charge.troubles();
}

} // namespace

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
	add("fullmesh_on_some_prefixes", 4, socket_kind::ipv4,
	    {"fullmesh", "--set", "prefix=10.0.1.0/24", "--set", "prefix=10.0.3.1/32"}, {},
	    {{from_to(0, 0), 1}, {from_to(2, 0), 1}});
	add("fullmesh_on_some_prefixes", 4, socket_kind::ipv6,
	    {"fullmesh", "--set", "prefix=fd00:1::/64", "--set", "prefix=fd00:3::/70"}, {},
	    {{from_to(0, 0, true), 1}, {from_to(2, 0, true), 1}});
	return all;
}

void expect_exactly_its_paths(const path_case &tried, means by)
{
	scene s(tried.number);
	std::unique_ptr<charge> server;
	if (!tried.at_server.empty())
		server = take_charge(s, by, tried.at_server, &s.world.server);
	const auto client = take_charge(s, by, tried.at_client);
	s.connections.open(tried.connections, tried.kind);
	expect_paths_to_stay(s, *client, tried.expected);
	// None was opened in vain, or twice.
	EXPECT_EQ(s.joins_asked_for(), tried.connections * (count(tried.expected) - 1));
	EXPECT_EQ(client->connections(), tried.connections);
	EXPECT_EQ(client->troubles(), "");
}

void expect_backups_on_its_interface_alone(means by, bool ipv6)
{
	scene s(3);
	const auto client = take_charge(s, by, {"backup", "--set", "backup-interface=p2"});
	s.connections.open(open_connections, ipv6 ? socket_kind::ipv6 : socket_kind::ipv4);
	s.expect_paths(to_initial(3, ipv6));
	const paths expected{{from_to(2, 0, ipv6), open_connections}};
	EXPECT_EQ(with_flag(s.client, &netlink::snapshot_subflow::asked_backup), expected);
	EXPECT_EQ(with_flag(s.server, &netlink::snapshot_subflow::backup), expected);
}

void expect_the_initial_subflow_as_a_backup(means by, socket_kind kind)
{
	const bool ipv6 = kind == socket_kind::ipv6;
	scene s(2);
	const auto client = take_charge(s, by, {"backup", "--set", "backup-interface=p0"});
	s.connections.open(open_connections, kind);
	s.expect_paths(to_initial(2, ipv6));
	const paths expected{{from_to(0, 0, ipv6), open_connections}};
	EXPECT_TRUE(await(scene::patience,
			  [&] {
				  return with_flag(s.client, &netlink::snapshot_subflow::asked_backup) == expected &&
					 with_flag(s.server, &netlink::snapshot_subflow::backup) == expected;
			  }))
		<< name_of(kind) << ": asked for "
		<< count(with_flag(s.client, &netlink::snapshot_subflow::asked_backup)) << ", heard of "
		<< count(with_flag(s.server, &netlink::snapshot_subflow::backup));
}

void expect_subflows_to_go_with_the_clients_address(means by, socket_kind kind)
{
	const bool ipv6 = kind == socket_kind::ipv6;
	for (const unsigned gone : {0u, 1u}) { // the address of the initial subflow is one like others
		scene s;
		const auto client = take_charge(s, by, {"fullmesh"});
		s.connections.open(open_connections, kind);
		s.expect_paths(to_initial(2, ipv6));
		change_address(s.world.client, gone, lab::client_address(gone, ipv6), false);
		// From where the address is gone no FIN is sent: the server has to be told.
		s.expect_paths({{from_to(1 - gone, 0, ipv6), 1}});
	}
}

void expect_subflows_to_go_with_the_servers_address(means by, socket_kind kind)
{
	const bool ipv6 = kind == socket_kind::ipv6;
	scene s;
	const auto server = take_charge(s, by, {"announce"}, &s.world.server),
		   client = take_charge(s, by, {"fullmesh"});
	s.connections.open(open_connections, kind);
	paths expected = kind == socket_kind::ipv4 ? all_pairs(2) : all_pairs_of_both(2);
	s.expect_paths(expected);
	change_address(s.world.server, 1, lab::server_address(1, ipv6), false);
	expected.erase(from_to(0, 1, ipv6));
	expected.erase(from_to(1, 1, ipv6));
	expect_at(s.client, expected, *client);
	expect_at(s.server, seen_from_the_server(expected), *server);
}

void expect_subflows_to_come_with_an_address(means by, socket_kind kind)
{
	const bool ipv6 = kind == socket_kind::ipv6;
	scene s;
	change_address(s.world.client, 1, lab::client_address(1, ipv6), false);
	const auto client = take_charge(s, by, {"fullmesh"});
	s.connections.open(open_connections, kind);
	s.expect_paths(to_initial(1, ipv6));
	change_address(s.world.client, 1, lab::client_address(1, ipv6), true);
	expect_at(s.client, to_initial(2, ipv6), *client);
}

void expect_the_only_address_to_be_left_for_another_one(means by, unsigned delay_ms)
{
	scene s(1);
	if (delay_ms != 0)
		run_in(s.world.server, "tc qdisc add dev p0 root netem delay " + std::to_string(delay_ms) + "ms");
	const auto client = take_charge(s, by, {"fullmesh"});
	s.connections.open(open_connections, socket_kind::ipv4);
	s.expect_paths(to_initial(1, false));
	const std::uint64_t looks = client->times(happening::look);
	const std::size_t more = by == means::attachment ? open_connections : 1; // a daemon hears of it once for all
	change_address(s.world.client, 0, lab::client_address(0, false), false);
	EXPECT_TRUE(await(scene::patience, [&] { return client->times(happening::look) >= looks + more; }));
	expect_at(s.client, to_initial(1, false), *client);
	change_address(s.world.client, 0, ipv4(10, 0, 1, 77), true);
	s.expect_paths({{{"10.0.1.77", from_to(0, 0).second}, 1}});
}

} // namespace pm::test
