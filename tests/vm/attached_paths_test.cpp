// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Every policy attached in the kernel, with real connections: each has exactly the paths that it should, at both ends, and
// keeps them.
#include <gtest/gtest.h>

#include "pm-core/address.hpp"
#include "tests/support/attachment.hpp"
#include "tests/support/path_checks.hpp"

namespace {

using namespace pm;
using namespace pm::test;

class attached_paths : public testing::TestWithParam<path_case> {};

TEST_P(attached_paths, are_exactly_those_of_the_policy_at_both_ends)
{
	expect_exactly_its_paths(GetParam(), means::attachment);
}

INSTANTIATE_TEST_SUITE_P(vm, attached_paths, testing::ValuesIn(path_cases()),
			 [](const auto &given) { return given.param.name; });

TEST(attached_backup, flags_the_subflows_of_its_interface_and_no_others_at_both_ends)
{
	for (const bool ipv6 : {false, true})
		expect_backups_on_its_interface_alone(means::attachment, ipv6);
}

TEST(attached_backup, flags_the_initial_subflow_too)
{
	for (const socket_kind kind : {socket_kind::ipv4, socket_kind::ipv6, socket_kind::mapped})
		expect_the_initial_subflow_as_a_backup(means::attachment, kind);
}

class attached_address : public testing::TestWithParam<socket_kind> {};

TEST_P(attached_address, of_the_client_takes_its_subflows_along)
{
	expect_subflows_to_go_with_the_clients_address(means::attachment, GetParam());
}

TEST_P(attached_address, of_the_server_takes_its_subflows_along)
{
	expect_subflows_to_go_with_the_servers_address(means::attachment, GetParam());
}

TEST_P(attached_address, that_comes_gets_subflows)
{
	expect_subflows_to_come_with_an_address(means::attachment, GetParam());
}

TEST(attached_addresses, the_only_one_is_left_for_another_one_at_both_ends)
{
	expect_the_only_address_to_be_left_for_another_one(means::attachment, 100);
}

// The peer is told of both at once: of two RM_ADDR it may drop one. (By netlink one is sent for each.)
TEST(attached_addresses, two_are_left_at_once_at_both_ends)
{
	scene s;
	change_address(s.world.client, 0, ipv4(10, 0, 1, 77), true);
	const path from_the_second{"10.0.1.77", from_to(0, 0).second};
	const attachment client(s.world.client, {"fullmesh"});
	s.connections.open(20, socket_kind::ipv4);
	s.expect_paths({{from_to(0, 0), 1}, {from_the_second, 1}, {from_to(1, 0), 1}});
	run_in(s.world.client, "ip link set p0 down");
	s.expect_paths({{from_to(1, 0), 1}});
}

INSTANTIATE_TEST_SUITE_P(vm, attached_address,
			 testing::Values(socket_kind::ipv4, socket_kind::ipv6, socket_kind::mapped),
			 [](const auto &given) { return std::string{name_of(given.param)}; });

} // namespace
