// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the engine does with subflows whose address is gone: whether they stay, and what the peer is told.
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/policy_host.hpp"

using namespace pm;
using namespace pm::test;

namespace {

using host = policy_host;

// The only address of a client goes; a subflow from another one is established.
void roam(host &client)
{
	client.connect(1);
	EXPECT_TRUE(client(local_removed(local4(1))).empty());
	const auto open = client(local_added(local4(2), 2));
	ASSERT_EQ(open.size(), 1u);
	EXPECT_EQ(open[0].type, PM_OPEN_SUBFLOW);
	EXPECT_TRUE(client(answer(PM_SUB_ESTABLISHED, open[0], 50001)).empty());
}

TEST(engine_leaving, closes_what_used_a_removed_local_address_and_opens_it_again_when_it_is_back)
{
	host client{"fullmesh"};
	const auto open = client.connect(2);
	ASSERT_EQ(opened(open), 1u);
	client(answer(PM_SUB_ESTABLISHED, open[0], 50001));
	const auto commands = client(local_removed(local4(2)));
	ASSERT_EQ(closed(commands), 1u);
	EXPECT_TRUE(same(commands[0].local, local4(2)));
	client(answer(PM_SUB_CLOSED, open[0], 50001));
	const auto again = client(local_added(local4(2), 2));
	ASSERT_EQ(opened(again), 1u);
	EXPECT_EQ(again[0].local_id, open[0].local_id) << "the id of an address stays";
}

TEST(engine_leaving, closes_the_initial_subflow_too_when_its_local_address_is_removed)
{
	host client{"fullmesh"};
	const auto open = client.connect(2);
	client(answer(PM_SUB_ESTABLISHED, open[0], 50001));
	const auto close = of_type(client(local_removed(local4(1))), PM_CLOSE_SUBFLOW);
	ASSERT_EQ(close.size(), 1u);
	EXPECT_TRUE(same(close[0].local, local4(1)));
	EXPECT_EQ(close[0].local_port, client_port);
}

// From an address that is gone no FIN can be sent.
TEST(engine_leaving, tells_the_peer_of_an_address_that_is_gone_although_it_was_known_by_a_subflow_alone)
{
	host client{"fullmesh"};
	const auto open = client.connect(3);
	ASSERT_EQ(opened(open), 2u);
	client(answer(PM_SUB_ESTABLISHED, open[0], 50001));
	client(answer(PM_SUB_ESTABLISHED, open[1], 50002));
	for (const pm_addr &gone : {local4(1), local4(2)}) {
		const auto commands = client(local_removed(gone));
		ASSERT_EQ(commands.size(), 2u);
		EXPECT_EQ(commands[0].type, PM_WITHDRAW) << "first: after it the kernel knows no such address";
		EXPECT_EQ(commands[0].local_id, same(gone, local4(1)) ? 0 : open[0].local_id);
		EXPECT_EQ(commands[1].type, PM_CLOSE_SUBFLOW);
		EXPECT_TRUE(same(commands[1].local, gone));
		EXPECT_TRUE(client(event(PM_RETRY, token)).empty()) << "once is enough";
	}
}

// The kernel has no other subflow by which to tell the peer until the handshake is over, which it says nothing of.
TEST(engine_leaving, waits_a_while_after_another_address_has_come)
{
	host client{"fullmesh"};
	roam(client);
	EXPECT_TRUE(client(announced(token, 0, remote4(1))).empty()) << "whatever else happens";
	const auto then = client(event(PM_RETRY, token));
	ASSERT_EQ(then.size(), 2u);
	EXPECT_EQ(then[0].type, PM_WITHDRAW);
	EXPECT_EQ(then[1].type, PM_CLOSE_SUBFLOW);
	EXPECT_TRUE(same(then[0].local, local4(1)) && same(then[1].local, local4(1)));
	EXPECT_TRUE(client(local_removed(local4(2))).empty())
		<< "the last one stays, also where it is not the initial one";
}

TEST(engine_leaving, stays_on_an_address_that_is_back_in_time)
{
	host client{"fullmesh"};
	roam(client);
	EXPECT_TRUE(client(local_added(local4(1), 1)).empty());
	EXPECT_TRUE(client(event(PM_RETRY, token)).empty());
	EXPECT_EQ(closed(client(local_removed(local4(1)))), 1u) << "the other one is no more new";
}

TEST(engine_leaving, does_not_tell_the_peer_that_what_it_removed_itself_is_gone)
{
	host client{"fullmesh"};
	client.connect(1);
	const auto open = client(announced(token, 2, remote4(2)));
	ASSERT_EQ(opened(open), 1u);
	client(answer(PM_SUB_ESTABLISHED, open[0], 50001));
	const auto commands = client(removed(token, 2));
	ASSERT_EQ(commands.size(), 1u);
	EXPECT_EQ(commands[0].type, PM_CLOSE_SUBFLOW);
}

TEST(engine_leaving, does_not_withdraw_what_a_server_has_not_announced_and_could_not_come_back_to)
{
	host server{"fullmesh"};
	EXPECT_TRUE(server.connect(3, PM_SERVER_SIDE).empty());
	for (u8 l = 2; l <= 3; ++l)
		server(on_path(PM_SUB_ESTABLISHED, token, local4(l), remote4(1), server_port,
			       static_cast<u16>(50000 + l)));
	for (u8 gone = 1; gone <= 2; ++gone) {
		const auto commands = server(local_removed(local4(gone)));
		ASSERT_EQ(commands.size(), 1u);
		EXPECT_EQ(commands[0].type, PM_CLOSE_SUBFLOW);
	}
}

TEST(engine_leaving, keeps_the_only_subflow_although_another_one_is_planned_until_that_is_there)
{
	host client{"single-per-interface"};
	client.connect(1, PM_DENY_JOIN_ID0);
	client(removed(token, 0));
	const auto open = client(announced(token, 2, remote4(2)));
	ASSERT_EQ(opened(open), 1u);
	EXPECT_EQ(closed(client(answer(PM_SUB_ESTABLISHED, open[0], 50001))), 1u) << "the initial one";
	EXPECT_EQ(closed(client(announced(token, 0, remote4(1)))), 0u);
}

TEST(engine_leaving, does_not_take_back_the_address_of_the_only_subflow_until_there_is_another_one)
{
	host server{"announce"};
	ASSERT_EQ(server.connect(2, PM_SERVER_SIDE).size(), 1u) << "the second address is announced";
	const auto join = [&](u8 local, std::uint16_t port) {
		return server(on_path(PM_SUB_ESTABLISHED, token, local4(local), remote4(1), server_port, port));
	};
	EXPECT_TRUE(join(2, 50001).empty());
	EXPECT_EQ(closed(server(local_removed(local4(1)))), 1u);
	EXPECT_TRUE(server(local_removed(local4(2))).empty());
	server(local_added(local4(3), 3));
	const auto then = join(3, 50002);
	ASSERT_EQ(then.size(), 2u);
	EXPECT_EQ(then[0].type, PM_WITHDRAW);
	EXPECT_TRUE(same(then[0].local, local4(2)));
	EXPECT_EQ(then[1].type, PM_CLOSE_SUBFLOW);
	EXPECT_TRUE(same(then[1].local, local4(2)));
}

TEST(engine_leaving, keeps_what_the_peer_alone_can_be_reached_by_although_it_took_that_address_back)
{
	host server{"announce"};
	server.connect(1, PM_SERVER_SIDE);
	EXPECT_EQ(closed(server(removed(token, 0))), 0u);
	pm_event join = on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(2), client_port, 50001);
	join.remote_id = 1;
	EXPECT_EQ(closed(server(join)), 1u);
}

} // namespace
