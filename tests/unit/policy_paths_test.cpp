// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The rules of each policy, and of all of them, one sentence each: which paths a connection gets.
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/policy_host.hpp"

using namespace pm;
using namespace pm::test;

namespace {

using host = policy_host;

TEST(fullmesh, opens_a_subflow_from_every_other_local_address_once_established)
{
	host client{"fullmesh"};
	const auto commands = client.connect(3);
	ASSERT_EQ(opened(commands), 2u);
	EXPECT_TRUE(same(commands[0].local, local4(2)) && same(commands[0].remote, remote4(1)));
	EXPECT_TRUE(same(commands[1].local, local4(3)) && same(commands[1].remote, remote4(1)));
	EXPECT_EQ(commands[0].ifindex, 2u);
	EXPECT_EQ(commands[0].remote_port, server_port);
	EXPECT_EQ(commands[0].token, token);
}

TEST(fullmesh, opens_nothing_before_the_connection_is_established)
{
	host client{"fullmesh"};
	client(local_added(local4(1)));
	client(local_added(local4(2)));
	EXPECT_TRUE(client(created(token)).empty());
	EXPECT_TRUE(client(announced(token, 1, remote4(2))).empty());
	EXPECT_EQ(opened(client(established(token))), 3u);
}

TEST(fullmesh, pairs_an_announced_address_with_every_local_one)
{
	host client{"fullmesh"};
	EXPECT_EQ(opened(client.connect(2)), 1u);
	const auto commands = client(announced(token, 3, remote4(2), 8080));
	ASSERT_EQ(opened(commands), 2u);
	EXPECT_EQ(commands[0].remote_port, 8080);
	EXPECT_EQ(commands[0].remote_id, 3);
}

TEST(fullmesh, opens_nothing_towards_an_address_of_the_other_family)
{
	host client{"fullmesh"};
	EXPECT_EQ(opened(client.connect(1)), 0u);
	client(local_added(local6(1)));
	EXPECT_TRUE(client(established(token)).empty());
	const auto commands = client(announced(token, 1, remote6(1)));
	ASSERT_EQ(opened(commands), 1u);
	EXPECT_TRUE(same(commands[0].local, local6(1)) && same(commands[0].remote, remote6(1)));
}

TEST(fullmesh, opens_no_ipv6_path_for_a_connection_whose_socket_is_of_ipv4)
{
	host client{"fullmesh"};
	client(local_added(local6(1)));
	client.connect(1, PM_IPV4_SOCKET);
	EXPECT_TRUE(client(announced(token, 1, remote6(1))).empty());
	EXPECT_EQ(opened(client(announced(token, 2, remote4(2)))), 1u);
}

TEST(fullmesh, treats_an_ipv4_mapped_address_as_ipv4)
{
	pm_addr mapped{};
	mapped.bytes[10] = mapped.bytes[11] = 0xff;
	mapped.bytes[12] = 10;
	mapped.bytes[14] = 2;
	mapped.bytes[15] = 2;
	EXPECT_TRUE(is_ipv4(mapped));
	EXPECT_TRUE(same(mapped, remote4(2)));
	host client{"fullmesh"};
	client.connect(1);
	EXPECT_EQ(opened(client(announced(token, 1, mapped))), 1u);
}

TEST(fullmesh, opens_as_many_subflows_as_eight_by_eight_addresses_have_pairs)
{
	host client{"fullmesh"};
	std::size_t commands = opened(client.connect(8));
	for (u8 r = 2; r <= 8; ++r)
		commands += opened(client(announced(token, r, remote4(r))));
	EXPECT_EQ(commands, 63u); // and the initial one
	EXPECT_EQ(client.managed.counted().full_subflows, 0u);
}

struct ndiffports_case {
	const char *setting;
	std::size_t opens;
};
class ndiffports : public testing::TestWithParam<ndiffports_case> {};

TEST_P(ndiffports, opens_what_is_missing_between_the_initial_addresses_only)
{
	host client{"ndiffports", {GetParam().setting}};
	const auto commands = client.connect(2);
	EXPECT_EQ(opened(commands), GetParam().opens);
	for (const pm_command &c : commands) {
		EXPECT_TRUE(same(c.local, local4(1)) && same(c.remote, remote4(1)));
		EXPECT_EQ(c.local_id, 0);
		EXPECT_EQ(c.local_port, 0) << "the kernel chooses a source port for each";
	}
	EXPECT_EQ(opened(client(announced(token, 2, remote4(2)))), 0u);
}
INSTANTIATE_TEST_SUITE_P(settings, ndiffports,
			 testing::Values(ndiffports_case{"subflows=1", 0}, ndiffports_case{"subflows=2", 1},
					 ndiffports_case{"subflows=8", 7}),
			 [](const auto &info) { return "opens_" + std::to_string(info.param.opens); });

TEST(ndiffports, opens_nothing_to_a_peer_that_denies_joins_to_its_initial_address)
{
	host client{"ndiffports", {"subflows=4"}};
	EXPECT_TRUE(client.connect(1, PM_DENY_JOIN_ID0).empty());
}

TEST(fullmesh, goes_to_announced_addresses_only_where_joins_to_the_initial_one_are_denied)
{
	host client{"fullmesh"};
	EXPECT_EQ(opened(client.connect(2, PM_DENY_JOIN_ID0)), 0u);
	const auto commands = client(announced(token, 1, remote4(2)));
	EXPECT_EQ(opened(commands), 2u);
	for (const pm_command &c : commands)
		EXPECT_TRUE(same(c.remote, remote4(2)));
	EXPECT_EQ(closed(commands), 0u) << "the initial subflow stays";
}

TEST(single_per_interface, opens_one_subflow_from_each_other_interface_to_the_initial_address)
{
	host client{"single-per-interface"};
	client(local_added(local4(11), 1)); // the interface of the initial subflow has another address,
	client(local_added(local4(12), 2)); // ... and the second one two
	const auto commands = client.connect(3);
	ASSERT_EQ(opened(commands), 2u);
	std::set<u32> interfaces;
	for (const pm_command &c : commands) {
		interfaces.insert(c.ifindex);
		EXPECT_TRUE(same(c.remote, remote4(1)));
	}
	EXPECT_EQ(interfaces, (std::set<u32>{2, 3}));
	EXPECT_TRUE(client(announced(token, 1, remote4(2))).empty()) << "each interface has its subflow";
}

TEST(single_per_interface, goes_elsewhere_when_the_initial_address_takes_no_joins_or_is_gone)
{
	host denied{"single-per-interface"};
	EXPECT_EQ(opened(denied.connect(2, PM_DENY_JOIN_ID0)), 0u);
	auto commands = denied(announced(token, 1, remote4(2)));
	ASSERT_EQ(commands.size(), 1u) << "the interface of the initial subflow has that one";
	EXPECT_EQ(commands[0].ifindex, 2u);

	host client{"single-per-interface"};
	EXPECT_EQ(opened(client.connect(1)), 0u);
	client(announced(token, 1, remote4(2)));
	commands = client(removed(token, 0));
	ASSERT_EQ(opened(commands), 1u);
	EXPECT_TRUE(same(of_type(commands, PM_OPEN_SUBFLOW)[0].remote, remote4(2)));
}

TEST(single_per_interface, uses_another_address_of_the_interface_when_one_is_removed)
{
	host client{"single-per-interface"};
	client(local_added(local4(1), 1));
	client(local_added(local4(2), 2));
	const auto first = client.connect(1);
	ASSERT_EQ(opened(first), 1u);
	client(answer(PM_SUB_ESTABLISHED, first[0], 50000));
	EXPECT_TRUE(client(local_added(local4(12), 2)).empty());
	const auto commands = client(local_removed(local4(2), 2));
	EXPECT_EQ(closed(commands), 1u);
	ASSERT_EQ(opened(commands), 1u);
	EXPECT_TRUE(same(of_type(commands, PM_OPEN_SUBFLOW)[0].local, local4(12)));
}

TEST(announce, tells_the_peer_of_every_other_local_address_with_an_id_of_its_own)
{
	host server{"announce", {"port=8080"}};
	const auto commands = server.connect(3, PM_SERVER_SIDE);
	ASSERT_EQ(commands.size(), 2u);
	for (const pm_command &c : commands) {
		EXPECT_EQ(c.type, PM_ANNOUNCE);
		EXPECT_EQ(c.local_port, 8080);
	}
	EXPECT_TRUE(same(commands[0].local, local4(2)) && same(commands[1].local, local4(3)));
	EXPECT_NE(commands[0].local_id, commands[1].local_id);
	EXPECT_NE(commands[0].local_id, 0);
	EXPECT_TRUE(server(established(token, local4(1), remote4(1), PM_SERVER_SIDE)).empty()) << "once is enough";
}

TEST(announce, leaves_connections_alone_that_this_host_opened)
{
	host client{"announce"};
	EXPECT_TRUE(client.connect(3).empty());
}

TEST(announce, takes_an_address_back_when_it_is_removed_and_closes_what_stood_on_it)
{
	host server{"announce"};
	const auto told = server.connect(2, PM_SERVER_SIDE);
	ASSERT_EQ(told.size(), 1u);
	server(on_path(PM_SUB_ESTABLISHED, token, local4(2), remote4(2), server_port, 50000));
	auto commands = server(local_removed(local4(2), 2));
	ASSERT_EQ(of_type(commands, PM_WITHDRAW).size(), 1u);
	EXPECT_EQ(of_type(commands, PM_WITHDRAW)[0].local_id, told[0].local_id);
	EXPECT_EQ(closed(commands), 1u);
	commands = server(local_added(local4(2), 2));
	ASSERT_EQ(commands.size(), 1u);
	EXPECT_EQ(commands[0].type, PM_ANNOUNCE);
}

TEST(announce, waits_with_an_address_that_the_kernel_refused_until_it_is_told_to_retry)
{
	host server{"announce"};
	const auto told = server.connect(2, PM_SERVER_SIDE);
	ASSERT_EQ(told.size(), 1u);
	EXPECT_TRUE(server(answer(PM_COMMAND_FAILED, told[0], 0)).empty());
	EXPECT_TRUE(server(established(token, local4(1), remote4(1), PM_SERVER_SIDE)).empty());
	EXPECT_GT(server.managed.counted().exhausted, 0u);
	EXPECT_EQ(server(event(PM_RETRY, token)).size(), 1u);
}

TEST(backup, opens_the_subflows_of_its_interface_as_backups)
{
	host client{"backup", {"backup-interface=2"}};
	const auto commands = client.connect(3);
	ASSERT_EQ(opened(commands), 2u);
	for (const pm_command &c : commands)
		EXPECT_EQ(c.flags, c.ifindex == 2 ? PM_BACKUP : 0);
	ASSERT_TRUE(client(answer(PM_SUB_ESTABLISHED, commands[0], 50000)).empty()) << "it is one already";
}

TEST(backup, makes_a_backup_of_the_initial_subflow_on_either_side)
{
	for (const u8 side : {u8{0}, static_cast<u8>(PM_SERVER_SIDE)}) {
		host client{"backup", {"backup-interface=1"}};
		const auto commands = client.connect(1, side);
		ASSERT_EQ(commands.size(), 1u);
		EXPECT_EQ(commands[0].type, PM_SET_BACKUP);
		EXPECT_EQ(commands[0].flags, PM_BACKUP);
		EXPECT_EQ(commands[0].local_port, client_port);
		EXPECT_TRUE(client(established(token, local4(1), remote4(1), side)).empty()) << "asked once";
	}
}

TEST(backup, is_asked_for_again_where_a_resync_finds_none)
{
	host client{"backup", {"backup-interface=1"}};
	client.connect(1);
	client(event(PM_RESYNC_BEGIN, token));
	client(established(token));
	pm_event subflow = on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1));
	subflow.flags = PM_ASKED_BACKUP;
	client(subflow);
	EXPECT_TRUE(client(event(PM_RESYNC_END, token)).empty()) << "it is as it should be";
	client(event(PM_RESYNC_BEGIN, token));
	client(established(token));
	subflow.flags = 0;
	client(subflow);
	EXPECT_EQ(of_type(client(event(PM_RESYNC_END, token)), PM_SET_BACKUP).size(), 1u);
}

class every_policy : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(policies, every_policy, testing::ValuesIn([] {
				 std::vector<std::string> names;
				 for (const policy_info &policy : all_policies())
					 names.emplace_back(policy.name);
				 return names;
			 }()),
			 [](const auto &info) { return identifier(info.param); });

TEST_P(every_policy, opens_and_closes_nothing_on_the_server_side)
{
	host server{GetParam()};
	for (const auto &commands :
	     {server.connect(2, PM_SERVER_SIDE),
	      server(on_path(PM_SUB_ESTABLISHED, token, local4(2), remote4(2), server_port, 50000)),
	      server(announced(token, 1, remote4(3)))}) {
		EXPECT_EQ(opened(commands), 0u);
		EXPECT_EQ(closed(commands), 0u);
	}
}

TEST_P(every_policy, gives_each_local_address_of_a_connection_an_id_of_its_own_and_keeps_it)
{
	host client{GetParam()};
	std::vector<pm_command> all = client.connect(8);
	for (u8 r = 2; r <= 8; ++r) {
		const auto more = client(announced(token, r, remote4(r)));
		all.insert(all.end(), more.begin(), more.end());
	}
	std::set<std::pair<u8, u8>> pairs;
	std::set<u8> ids, addresses;
	for (const pm_command &c : of_type(all, PM_OPEN_SUBFLOW)) {
		pairs.emplace(c.local.bytes[14], c.local_id);
		addresses.insert(c.local.bytes[14]);
		ids.insert(c.local_id);
		EXPECT_EQ(c.local_id == 0, same(c.local, local4(1))) << "id 0 is the initial address";
	}
	EXPECT_EQ(pairs.size(), addresses.size());
	EXPECT_EQ(ids.size(), addresses.size());
}

TEST_P(every_policy, does_not_open_twice_what_is_being_opened)
{
	if (GetParam() == "announce")
		return; // it opens none
	host client{GetParam()};
	EXPECT_GE(opened(client.connect(2)), 1u);
	EXPECT_TRUE(client(established(token)).empty());
	EXPECT_TRUE(client(created(token)).empty());
	EXPECT_TRUE(client(event(PM_RESYNC_BEGIN, 99)).empty()) << "another connection's affair";
}

TEST_P(every_policy, retries_a_failed_subflow_a_bounded_number_of_times)
{
	if (GetParam() == "announce")
		return; // it opens none
	host client{GetParam()};
	std::vector<pm_command> commands = client.connect(2);
	std::size_t attempts = 0;
	for (; !commands.empty(); ++attempts) {
		ASSERT_LT(attempts, 20u);
		ASSERT_EQ(commands.size(), 1u);
		commands = client(answer(PM_SUB_CLOSED, commands[0], static_cast<u16>(50000 + attempts)));
	}
	EXPECT_EQ(attempts, static_cast<std::size_t>(PM_MAX_FAILURES));
	EXPECT_GT(client.managed.counted().exhausted, 0u);
}

} // namespace
