// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager in the kernel opens, closes, announces and withdraws: so it is done, or refused for its reason.
#include <cerrno>

#include "pm-core/address.hpp"
#include "tests/vm/probe_pm.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

class probe_opens : public probed {
protected:
	// Yields the subflow, as the client was told of it.
	pm_event expect_opened(const pair &c, const probe_order &order)
	{
		const std::size_t before = told.count(PM_SUB_ESTABLISHED, c.client);
		EXPECT_EQ(told.carry_out(order), 0);
		EXPECT_TRUE(await(10, [&] { return told.count(PM_SUB_ESTABLISHED, c.client) > before; }));
		return told.count(PM_SUB_ESTABLISHED, c.client) > before
			       ? told.all(PM_SUB_ESTABLISHED, c.client).back().what
			       : pm_event{};
	}
	static void expect_path(const pm_event &opened, const pm_addr &local, const pm_addr &remote,
				std::uint16_t to = port)
	{
		EXPECT_TRUE(same(opened.local, local));
		EXPECT_TRUE(same(opened.remote, remote));
		EXPECT_EQ(opened.remote_port, to);
	}
	void reset_initial(const pair &c)
	{
		run_in(lab.client,
		       "ss -K dport = " + std::to_string(port) + " sport = " + std::to_string(c.ends.client_port));
		(void)told.expect(PM_SUB_CLOSED, c.client);
	}
	void expect_backup(const pm_addr *local)
	{
		const pair c = open();
		probe_order order = opening(c.client, local, &server1);
		order.what.flags = PM_BACKUP;
		expect_path(expect_opened(c, order), client1, server1);
		(void)told.expect(PM_SUB_ESTABLISHED, c.server);
		EXPECT_TRUE(joined_from(told.subflows(c.client), client1, c.ends.client_port).what.flags &
			    PM_ASKED_BACKUP);
		EXPECT_TRUE(joined_from(told.subflows(c.server), server1, 0).what.flags & PM_BACKUP)
			<< "the peer was told";
	}
};

TEST_F(probe_opens, like_the_initial_subflow_what_is_left_open)
{
	for (const bool ipv6 : {false, true}) {
		const pair c = open(ipv6);
		for (const auto left_open : {PROBE_NULL, PROBE_UNSPEC}) {
			probe_order order = opening(c.client, nullptr, nullptr);
			order.local = order.remote = left_open;
			const pm_event opened = expect_opened(c, order);
			expect_path(opened, lab::client_address(0, ipv6), lab::server_address(0, ipv6));
			EXPECT_NE(opened.local_port, c.ends.client_port);
		}
	}
}

TEST_F(probe_opens, from_an_address_or_to_an_address_alone)
{
	const pair c = open();
	expect_path(expect_opened(c, opening(c.client, &client1, nullptr)), client1, server0);
	expect_path(expect_opened(c, opening(c.client, nullptr, &server1)), client1, server1);
	expect_path(expect_opened(c, opening(c.client, &client0, &server1)), client0, server1);
}

TEST_F(probe_opens, from_a_routed_address_that_is_one_whatever_the_port)
{
	const pair c = open();
	const pm_event opened = expect_opened(c, opening(c.client, nullptr, &server1));
	const auto of_it = [&] { return joined_from(told.subflows(c.client), client1, c.ends.client_port).what; };
	const pm_u8 id = of_it().local_id;
	ASSERT_NE(id, 0);
	EXPECT_EQ(announce(c.client, id, client1), 0) << "it has this id";
	probe_order closing{};
	closing.what.type = PM_CLOSE_SUBFLOW;
	closing.what.token = c.client;
	closing.what.local_port = opened.local_port;
	ASSERT_EQ(told.carry_out(closing), 0);
	expect_path(expect_opened(c, opening(c.client, nullptr, &server1)), client1, server1);
	EXPECT_EQ(of_it().local_id, id);
	ASSERT_EQ(withdraw(c.client, id), 0);
	(void)told.expect(PM_REMOVED, c.server, [=](const probe_record &each) { return each.what.remote_id == id; });
}

TEST_F(probe_opens, from_a_port_that_is_given_with_or_without_an_address)
{
	const pair c = open();
	probe_order order = opening(c.client, &client1, nullptr);
	order.what.local_port = 5555;
	EXPECT_EQ(expect_opened(c, order).local_port, 5555);
	order.local = PROBE_UNSPEC;
	order.what.local_port = 5556;
	const pm_event opened = expect_opened(c, order);
	EXPECT_EQ(opened.local_port, 5556);
	expect_path(opened, client0, server0);
}

TEST_F(probe_opens, to_a_port_that_is_given_with_or_without_an_address)
{
	const descriptor another = listener(lab, 444, server1); // on what it announces
	const pair c = open();
	ASSERT_EQ(announce(c.server, 4, server1, 444), 0); // or it would not take the join
	(void)told.expect(PM_ANNOUNCED, c.client);
	probe_order order = opening(c.client, nullptr, &server1);
	order.what.remote_port = 444;
	order.what.remote_id = 4;
	expect_path(expect_opened(c, order), client1, server1, 444);

	order = opening(c.client, nullptr, nullptr);
	order.remote = PROBE_UNSPEC;
	order.what.remote_port = 9; // where nobody listens
	ASSERT_EQ(told.carry_out(order), 0);
	const auto refused = told.expect(PM_SUB_CLOSED, c.client).what;
	expect_path(refused, client0, server0, 9);
}

TEST_F(probe_opens, on_the_interface_that_is_given)
{
	const pair c = open();
	probe_order order = opening(c.client, nullptr, &server1);
	EXPECT_EQ(expect_opened(c, order).ifindex, 0u);
	order.what.ifindex = interface_in(lab.client, "p1");
	const pm_event opened = expect_opened(c, order);
	expect_path(opened, client1, server1);
	EXPECT_EQ(opened.ifindex, order.what.ifindex);
	order.what.ifindex = 0xffffffff;
	EXPECT_EQ(told.carry_out(order), -EINVAL);
}

TEST_F(probe_opens, backups_from_an_address_that_is_given) { expect_backup(&client1); }

TEST_F(probe_opens, backups_from_an_address_that_is_left_open) { expect_backup(nullptr); }

TEST_F(probe_opens, a_backup_from_an_address_to_which_the_peer_still_opens_what_is_none)
{
	const pair c = open();
	probe_order order = opening(c.server, &server1, &client1); // where nobody listens
	order.what.flags = PM_BACKUP;
	ASSERT_EQ(told.carry_out(order), 0);
	(void)told.expect(PM_SUB_CLOSED, c.server);
	expect_path(expect_opened(c, opening(c.client, &client1, &server1)), client1, server1);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	EXPECT_FALSE(joined_from(told.subflows(c.server), server1, 0).what.flags & PM_ASKED_BACKUP);
}

TEST_F(probe_opens, nothing_from_an_address_of_another_family_or_that_is_not_there)
{
	const pair c = open();
	const pm_addr v6 = lab::client_address(1, true), nobodys = ipv4(10, 99, 0, 1);
	EXPECT_EQ(told.carry_out(opening(c.client, &v6, nullptr)), -EINVAL);
	EXPECT_EQ(told.carry_out(opening(c.client, &nobodys, nullptr)), -EADDRNOTAVAIL);
	EXPECT_EQ(told.subflows(c.client).size(), 1u);
	expect_path(expect_opened(c, opening(c.client, &client1, nullptr)), client1, server0);
}

TEST_F(probe_opens, nothing_to_the_initial_address_of_a_peer_that_takes_no_more_there_unless_it_is_named)
{
	must(lab.server.set_sysctl("net.mptcp.allow_join_initial_addr_port", "0"));
	const pair c = open();
	for (const auto left_open : {PROBE_NULL, PROBE_UNSPEC}) {
		probe_order order = opening(c.client, &client1, nullptr);
		order.remote = left_open;
		EXPECT_EQ(told.carry_out(order), -EACCES);
	}
	ASSERT_EQ(announce(c.server, 7, server1), 0);
	(void)told.expect(PM_ANNOUNCED, c.client);
	probe_order order = opening(c.client, &client1, &server1);
	order.what.remote_id = 7;
	expect_path(expect_opened(c, order), client1, server1);
}

TEST_F(probe_opens, nothing_before_the_connection_is_accepted)
{
	const auto to = replay::to_sockaddr(server0, port);
	const descriptor client = must(in_namespace(lab.client, [&]() -> expected<descriptor> {
		descriptor made{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
		if (!made || connect(made.get(), to.get(), to.length) != 0 || send(made.get(), "x", 1, 0) != 1)
			return fail_errno("cannot connect");
		return made;
	}));
	const auto of_server = [](const probe_record &each) { return each.what.flags & PM_SERVER_SIDE; };
	const std::uint32_t server = told.expect(PM_ESTABLISHED, 0, of_server).what.token;
	EXPECT_EQ(told.carry_out(opening(server, &server1, nullptr)), -EAGAIN);
	const descriptor accepted{accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)};
	EXPECT_EQ(told.carry_out(opening(server, &server1, nullptr)), 0);
}

TEST_F(probe_opens, no_more_than_64_and_closes_each_once)
{
	const pair c = open();
	for (unsigned i = 0; i < PM_MAX_SUBFLOWS; ++i)
		ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0) << i;
	EXPECT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), -ENOSPC);
	EXPECT_TRUE(await(10, [&] { return told.count(PM_SUB_ESTABLISHED, c.client) == PM_MAX_SUBFLOWS; }));
	const pm_event opened = told.all(PM_SUB_ESTABLISHED, c.client).back().what;
	probe_order order{};
	order.what.type = PM_CLOSE_SUBFLOW;
	order.what.token = c.client;
	order.what.local_port = opened.local_port;
	EXPECT_EQ(told.carry_out(order), 0);
	(void)told.expect(PM_SUB_CLOSED, c.client);
	EXPECT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0) << "there is room for one again";
}

TEST_F(probe_opens, and_neither_closes_nor_withdraws_an_initial_subflow_that_was_reset)
{
	const pair c = open();
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	reset_initial(c);
	probe_order order{};
	order.what.type = PM_CLOSE_SUBFLOW;
	order.what.token = c.client;
	EXPECT_EQ(told.carry_out(order), -EALREADY) << "of all of them, it comes first";
	EXPECT_EQ(withdraw(c.client, 0), -EINVAL) << "no subflow has that id";
}

TEST_F(probe_opens, and_announces_nothing_that_can_not_be)
{
	const pair c = open();
	EXPECT_EQ(announce(c.server, 0, server1), -EINVAL) << "the id of the initial address";
	ASSERT_EQ(announce(c.server, 7, server1), 0);
	(void)told.expect(PM_ANNOUNCED, c.client);
	EXPECT_EQ(announce(c.server, 7, server1), 0) << "it is announced";
	EXPECT_EQ(announce(c.server, 7, server0), -EINVAL) << "the id of another address";
	EXPECT_EQ(announce(c.server, 8, server1), -EINVAL) << "it has an id";
	EXPECT_EQ(withdraw(c.server, 9), -EINVAL);
	ASSERT_EQ(withdraw(c.server, 7), 0);
	EXPECT_EQ(withdraw(c.server, 7), -EINVAL) << "it is gone";
	(void)told.expect(PM_REMOVED, c.client);
	EXPECT_EQ(told.count(PM_ANNOUNCED, c.client), 1u);
}

TEST_F(probe_opens, and_withdraws_the_initial_address)
{
	const pair c = open();
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	ASSERT_EQ(withdraw(c.client, 0), 0);
	(void)told.expect(PM_REMOVED, c.server, [](const probe_record &each) { return each.what.remote_id == 0; });
	(void)told.expect(PM_SUB_CLOSED, c.client,
			  [&](const probe_record &each) { return each.what.local_port == c.ends.client_port; });
}

TEST_F(probe_opens, and_gives_an_id_that_was_withdrawn_to_no_other_address)
{
	const pair c = open();
	const pm_addr another = ipv4(10, 0, 2, 9);
	run_in(lab.client, "ip address add 10.0.2.9/24 dev p1");
	const auto id_of = [&](const pm_addr &local) {
		expect_path(expect_opened(c, opening(c.client, &local, &server1)), local, server1);
		return joined_from(told.subflows(c.client), local, c.ends.client_port).what.local_id;
	};
	const pm_u8 withdrawn = id_of(client1);
	ASSERT_EQ(withdraw(c.client, withdrawn), 0);
	EXPECT_NE(id_of(another), withdrawn) << "the peer closes what has the id when it comes to RM_ADDR";
}

TEST_F(probe_opens, and_tells_of_what_was_withdrawn_while_there_was_no_subflow_by_the_next_one)
{
	const pair c = open();
	for (const pm_u8 id : {6, 7, 8})
		ASSERT_EQ(announce(c.client, id, client0, id), 0); // at a port of its own each
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.server) == 3; }));
	reset_initial(c);
	(void)told.expect(PM_SUB_CLOSED, c.server);
	ASSERT_EQ(announce(c.client, 9, client0, 9), 0);
	for (const pm_u8 id : {6, 7, 8, 9})
		ASSERT_EQ(withdraw(c.client, id), 0);
	ASSERT_EQ(announce(c.client, 8, client0, 10), 0);
	probe_order order = opening(c.client, &client1, &server1);
	order.what.local_id = 7;
	(void)expect_opened(c, order);
	c.ends.carry_a_byte();
	const auto of = [](pm_u8 id) { return [=](const probe_record &each) { return each.what.remote_id == id; }; };
	(void)told.expect(PM_REMOVED, c.server, of(6));
	(void)told.expect(PM_REMOVED, c.server, of(9));
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.server) == 4; })) << "9 was never sent";
	EXPECT_EQ(told.all(PM_ANNOUNCED, c.server).back().what.remote_port, 10);
	EXPECT_EQ(told.count(PM_REMOVED, c.server), 2u) << "7 and 8 are in use again";
	EXPECT_EQ(joined_from(told.subflows(c.server), server1, 0).what.remote_id, 7);
}

} // namespace
