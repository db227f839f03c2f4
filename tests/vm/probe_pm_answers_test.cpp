// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager in the kernel answers is what happens.
#include <algorithm>
#include <cerrno>

#include "pm-bpf/attachment.hpp"
#include "pm-core/address.hpp"
#include "tests/vm/probe_pm.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

class probe_answers : public probed {
protected:
	probe_answers() : probed(probe::table::answers) {}

	// Over the second path, from the address that routing chooses.
	probe_order over_the_second(const pair &c) const { return opening(c.client, nullptr, &server1); }
	probe_record at_the_client(const pair &c)
	{
		return joined_from(told.subflows(c.client), client1, c.ends.client_port);
	}
	probe_record at_the_server(const pair &c)
	{
		(void)told.expect(PM_SUB_ESTABLISHED, c.server);
		return joined_from(told.subflows(c.server), server1, port + 1);
	}
	bool was_asked_about(unsigned what, std::uint32_t token, const pm_addr &address)
	{
		const records all = told.all(what, token);
		return std::any_of(all.begin(), all.end(),
				   [&](const probe_record &each) { return same(each.what.local, address); });
	}
};

TEST_F(probe_answers, that_a_subflow_may_not_join)
{
	told.answer_local_id(1);
	told.refuse(true);
	const pair c = open();
	ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
	const pm_event asked = told.expect(PROBE_JOIN, c.server).what,
		       closed = told.expect(PM_SUB_CLOSED, c.client).what;
	EXPECT_TRUE(same(asked.local, server1));
	EXPECT_TRUE(same(asked.remote, client1));
	EXPECT_EQ(asked.remote_port, closed.local_port);
	EXPECT_EQ(told.subflows(c.server).size(), 1u);
	c.ends.carry_a_byte();
	told.refuse(false);
	ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	EXPECT_EQ(told.count(PROBE_JOIN), 2u) << "who opens is not asked";
}

TEST_F(probe_answers, that_an_address_may_not_be_used)
{
	const pair c = open();
	told.refuse(true);
	ASSERT_EQ(announce(c.server, 7, server1, 444), 0);
	const pm_event asked = told.expect(PROBE_ADDRESS, c.client).what;
	EXPECT_TRUE(same(asked.remote, server1));
	EXPECT_EQ(asked.remote_port, 444);
	EXPECT_EQ(asked.remote_id, 7);
	told.refuse(false);
	ASSERT_EQ(announce(c.server, 8, server0), 0);
	(void)told.expect(PM_ANNOUNCED, c.client);
	const records kept = told.list(PROBE_REMOTE, c.client);
	ASSERT_EQ(kept.size(), 1u);
	EXPECT_EQ(kept[0].what.remote_id, 8);
	EXPECT_EQ(told.count(PM_ANNOUNCED), 1u);
}

TEST_F(probe_answers, with_the_id_of_an_address_which_the_peer_is_told)
{
	told.answer_local_id(42);
	const pair c = open();
	ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	EXPECT_TRUE(was_asked_about(PROBE_LOCAL_ID, c.client, client1));
	EXPECT_TRUE(was_asked_about(PROBE_LOCAL_ID, c.server, server1));
	EXPECT_FALSE(was_asked_about(PROBE_LOCAL_ID, c.client, client0)) << "the initial one has id 0";
	EXPECT_EQ(at_the_client(c).what.local_id, 42);
	EXPECT_EQ(at_the_server(c).what.local_id, 42);
	EXPECT_EQ(at_the_server(c).what.remote_id, 42);
}

TEST_F(probe_answers, with_an_error_and_the_client_opens_nothing)
{
	told.answer_local_id(-EPERM);
	const pair c = open();
	EXPECT_EQ(told.carry_out(over_the_second(c)), -EHOSTUNREACH) << "TCP's, where an address could not be chosen";
	EXPECT_TRUE(was_asked_about(PROBE_LOCAL_ID, c.client, client1));
	EXPECT_EQ(told.subflows(c.client).size(), 1u);
	told.answer_local_id(256);
	EXPECT_EQ(told.carry_out(over_the_second(c)), -EHOSTUNREACH) << "an id has eight bits";
	told.answer_local_id(3);
	EXPECT_EQ(told.carry_out(over_the_second(c)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
}

TEST_F(probe_answers, with_an_id_that_the_address_can_not_have_and_nothing_is_opened)
{
	const pair c = open();
	ASSERT_EQ(announce(c.client, 7, lab::client_address(1, true)), 0);
	for (const int id : {0, 7}) {
		told.answer_local_id(id);
		EXPECT_LT(told.carry_out(over_the_second(c)), 0) << id;
	}
	told.answer_local_id(8);
	ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	told.answer_local_id(9);
	EXPECT_LT(told.carry_out(over_the_second(c)), 0) << "it has one";
	EXPECT_EQ(withdraw(c.client, 8), 0) << "it was kept";
	(void)told.expect(PM_REMOVED, c.server, [](const probe_record &each) { return each.what.remote_id == 8; });
}

TEST_F(probe_answers, with_an_error_and_the_server_lets_nobody_join)
{
	told.answer_local_id(-EPERM);
	const pair c = open();
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, &server1)), 0)
		<< "of an address that is given it is not asked";
	(void)told.expect(PM_SUB_CLOSED, c.client);
	EXPECT_TRUE(was_asked_about(PROBE_LOCAL_ID, c.server, server1));
	EXPECT_EQ(told.count(PM_SUB_ESTABLISHED), 0u);
	EXPECT_EQ(told.subflows(c.server).size(), 1u);
	c.ends.carry_a_byte();
}

TEST_F(probe_answers, with_the_priority_of_an_address_at_both_ends)
{
	told.answer_local_id(5);
	for (const bool backup : {false, true}) {
		told.answer_backup(backup);
		const pair c = open();
		ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
		(void)told.expect(PM_SUB_ESTABLISHED, c.client);
		EXPECT_TRUE(was_asked_about(PROBE_PRIORITY, c.client, client1));
		EXPECT_TRUE(was_asked_about(PROBE_PRIORITY, c.server, server1));
		for (const auto &each : {at_the_client(c), at_the_server(c)}) {
			EXPECT_EQ(bool(each.what.flags & PM_ASKED_BACKUP), backup) << "this end asked for it";
			EXPECT_EQ(bool(each.what.flags & PM_BACKUP), backup) << "and so did the other one";
		}
	}
}

TEST_F(probe_answers, for_the_connections_that_it_has_when_it_is_unregistered_and_no_later_ones_have_any)
{
	const pair c = open();
	told.answer_local_id(3);
	told.unregister();
	ASSERT_EQ(told.carry_out(over_the_second(c)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	EXPECT_EQ(told.count(PROBE_JOIN, c.server), 1u);

	must(lab.client.set_sysctl(bpf::path_manager_sysctl, "kernel"));
	run_in(lab.client, "ip mptcp limits set subflow 1 && ip mptcp endpoint add 10.0.2.1 dev p1 subflow");
	const netlink::mib refused = counter_in(lab.server, "MPJoinRejected");
	const connection later(lab, listening, port);
	later.carry_a_byte();
	EXPECT_TRUE(await(10, [&] { return refused.read().value_or(0) == 1; })) << "at the server it has none";
	EXPECT_EQ(told.count(PROBE_JOIN), 1u);
	EXPECT_EQ(told.count(PM_CREATED), 2u);
	later.carry_a_byte();
	c.ends.carry_a_byte();
}

} // namespace
