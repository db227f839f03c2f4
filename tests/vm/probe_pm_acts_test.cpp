// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager in the kernel answers is what happens, what it asks for is done, and what it can read is true.
#include <algorithm>
#include <cerrno>
#include <optional>

#include <linux/mptcp.h>

#include "pm-bpf/attachment.hpp"
#include "pm-core/address.hpp"
#include "pm-netlink/announced_list.hpp"
#include "tests/vm/probe_pm.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

constexpr unsigned established = 1; // TCP_ESTABLISHED

using records = std::vector<probe_record>;
using announcements = std::vector<netlink::peers::announcement>;

// The one from that address that is not the initial subflow; throws unless there is one.
probe_record joined_from(const records &all, const pm_addr &local, std::uint16_t initial_port)
{
	for (const probe_record &each : all)
		if (same(each.what.local, local) && each.what.local_port != initial_port)
			return each;
	throw std::runtime_error("there is no such subflow");
}

// ---- what it answers ----

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

// ---- what it asks for ----

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
	run_in(lab.client, "ss -K dport = " + std::to_string(port) + " sport = " + std::to_string(c.ends.client_port));
	(void)told.expect(PM_SUB_CLOSED, c.client);
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
	for (const pm_u8 id : {7, 8})
		ASSERT_EQ(announce(c.client, id, client1, id), 0); // at a port of its own each
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.server) == 2; }));
	run_in(lab.client, "ss -K dport = " + std::to_string(port) + " sport = " + std::to_string(c.ends.client_port));
	(void)told.expect(PM_SUB_CLOSED, c.client);
	(void)told.expect(PM_SUB_CLOSED, c.server);
	ASSERT_EQ(announce(c.client, 9, client1, 9), 0);
	for (const pm_u8 id : {7, 8, 9})
		ASSERT_EQ(withdraw(c.client, id), 0);
	ASSERT_EQ(announce(c.client, 8, client1, 10), 0);
	(void)expect_opened(c, opening(c.client, &client1, &server1));
	c.ends.carry_a_byte();
	const auto of = [](pm_u8 id) { return [=](const probe_record &each) { return each.what.remote_id == id; }; };
	(void)told.expect(PM_REMOVED, c.server, of(7));
	(void)told.expect(PM_REMOVED, c.server, of(9));
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.server) == 3; })) << "9 was never sent";
	EXPECT_EQ(told.all(PM_ANNOUNCED, c.server).back().what.remote_port, 10);
	EXPECT_EQ(told.count(PM_REMOVED, c.server), 2u) << "8 is in use again";
}

// ---- what it can read and set ----

class probe_reads : public probed {
protected:
	// What the kernel lists by netlink; nothing: it keeps no list of that connection.
	static std::optional<announcements> listed_at(const netns &where, std::uint32_t token)
	{
		return must(in_namespace(where, [&] {
			return netlink::announced_list::open().map([&](netlink::announced_list list) { return list.of(token); });
		}));
	}
};

TEST_F(probe_reads, of_a_subflow_its_state_round_trip_time_and_window)
{
	const pair c = open();
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	for (const std::uint32_t token : {c.client, c.server}) {
		const records all = told.subflows(token);
		EXPECT_EQ(all.size(), 2u);
		for (const probe_record &each : all) {
			EXPECT_EQ(each.state, established);
			EXPECT_GT(each.srtt_us, 0u);
			EXPECT_LT(each.srtt_us >> 3, 5'000'000u);
			EXPECT_GE(each.snd_cwnd, 2u);
			EXPECT_LE(each.snd_cwnd, 100u);
		}
	}
}

TEST_F(probe_reads, of_a_subflow_its_retransmissions)
{
	const pair c = open();
	ASSERT_EQ(told.subflows(c.client).at(0).retransmissions, 0u);
	run_in(lab.client, "tc qdisc add dev p0 root netem loss 100%");
	const char byte = 1;
	ASSERT_EQ(send(c.ends.client.get(), &byte, 1, MSG_NOSIGNAL), 1);
	EXPECT_TRUE(await(10, [&] { return told.subflows(c.client).at(0).retransmissions > 0; }));
	run_in(lab.client, "tc qdisc delete dev p0 root");
}

TEST_F(probe_reads, and_sets_options_of_a_subflow_when_it_is_established)
{
	told.mark_established(4711);
	const pair c = open();
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0);
	for (const std::uint32_t token : {c.client, c.server}) {
		for (const unsigned type : {PM_ESTABLISHED, PM_SUB_ESTABLISHED}) {
			const auto set = told.expect(type, token);
			EXPECT_EQ(set.error, 0) << type;
			EXPECT_EQ(set.mark, 4711u) << type;
			for (const int error : set.of_msk)
				EXPECT_EQ(error, -EINVAL) << "the connection is not owned there, " << type;
		}
		for (const probe_record &each : told.subflows(token))
			EXPECT_EQ(each.mark, 4711u) << "it is the subflow's";
	}
}

TEST_F(probe_reads, and_sets_options_that_those_of_the_connection_do_not_replace)
{
	told.mark_established(4711);
	const pair c = open();
	for (const descriptor *end : {&c.ends.client, &c.ends.server}) {
		const int priority = 3; // from now on, what joins is given the options of the connection
		ASSERT_EQ(setsockopt(end->get(), SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)), 0);
	}
	ASSERT_EQ(told.carry_out(opening(c.client, &client1, nullptr)), 0);
	for (const std::uint32_t token : {c.client, c.server}) {
		(void)told.expect(PM_SUB_ESTABLISHED, token);
		const records all = told.subflows(token);
		EXPECT_EQ(all.size(), 2u);
		for (const probe_record &each : all)
			EXPECT_EQ(each.mark, 4711u);
	}
}

TEST_F(probe_reads, by_iterators_what_there_is)
{
	const pair c = open();
	const auto interface_of = [&](const records &all, const pm_addr &address) {
		const auto found = std::find_if(all.begin(), all.end(), [&](const probe_record &each) {
			return same(each.what.local, address);
		});
		return found == all.end() ? 0 : found->what.ifindex;
	};
	const unsigned p0 = interface_in(lab.client, "p0"), p1 = interface_in(lab.client, "p1");
	const records before = told.list(PROBE_LOCAL, c.client);
	EXPECT_EQ(before.size(), 4u) << "no link-local ones, none of lo";
	for (const bool ipv6 : {false, true}) {
		EXPECT_EQ(interface_of(before, lab::client_address(0, ipv6)), p0);
		EXPECT_EQ(interface_of(before, lab::client_address(1, ipv6)), p1);
	}
	ASSERT_EQ(told.carry_out(opening(c.client, &client0, &server1)), 0);
	(void)told.expect(PM_SUB_ESTABLISHED, c.client);
	const records subflows = told.subflows(c.client);
	ASSERT_EQ(subflows.size(), 2u);
	EXPECT_EQ(subflows[0].what.local_port, c.ends.client_port);
	EXPECT_TRUE(same(subflows[0].what.remote, server0));
	EXPECT_TRUE(same(subflows[1].what.remote, server1));

	run_in(lab.client, "ip address delete dev p1 10.0.2.1/24");
	const records after = told.list(PROBE_LOCAL, c.client);
	EXPECT_EQ(after.size(), 3u);
	EXPECT_EQ(interface_of(after, client1), 0u);

	EXPECT_TRUE(told.list(PROBE_REMOTE, c.client).empty());
	ASSERT_EQ(announce(c.server, 9, lab::server_address(1, true)), 0);
	ASSERT_EQ(announce(c.server, 7, server1, 444), 0);
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.client) == 2; }));
	const records announced = told.list(PROBE_REMOTE, c.client);
	ASSERT_EQ(announced.size(), 2u);
	EXPECT_EQ(announced[0].what.remote_id, 7) << "by id";
	EXPECT_EQ(announced[0].what.remote_port, 444);
	EXPECT_TRUE(same(announced[0].what.remote, server1));
	EXPECT_EQ(announced[1].what.remote_id, 9);
	EXPECT_TRUE(same(announced[1].what.remote, lab::server_address(1, true)));
}

TEST_F(probe_reads, by_netlink_what_the_peer_announced_to_the_userspace_path_manager)
{
	for (const char *manager : {"userspace", "kernel"}) {
		must(lab.client.set_sysctl(bpf::path_manager_sysctl, manager));
		const connection ends(lab, listening, port);
		ends.carry_a_byte();
		const std::uint32_t server = token_of(ends.client_port, true), client = ends.client_token();
		(void)told.expect(PM_ESTABLISHED, server);
		ASSERT_EQ(announce(server, 7, server1), 0);
		if (manager == std::string("kernel")) {
			EXPECT_FALSE(listed_at(lab.client, client)) << "that keeps none";
			continue;
		}
		EXPECT_TRUE(await(10, [&] { return listed_at(lab.client, client).value().size() == 1; }));
		const announcements listed = listed_at(lab.client, client).value();
		ASSERT_EQ(listed.size(), 1u);
		EXPECT_EQ(listed[0].id, 7);
		EXPECT_TRUE(same(listed[0].address, server1));
		ASSERT_EQ(withdraw(server, 7), 0);
		EXPECT_TRUE(await(10, [&] { return listed_at(lab.client, client).value().empty(); }));
	}
}

TEST_F(probe_reads, by_netlink_what_the_peer_announced)
{
	const pair c = open();
	EXPECT_TRUE(listed_at(lab.client, c.client).value().empty());
	const pm_addr v6 = lab::server_address(1, true);
	ASSERT_EQ(announce(c.server, 200, server0), 0);
	ASSERT_EQ(announce(c.server, 7, server1, 444), 0);
	ASSERT_EQ(announce(c.server, 9, v6), 0);
	EXPECT_TRUE(await(10, [&] { return told.count(PM_ANNOUNCED, c.client) >= 3; }));
	announcements listed = listed_at(lab.client, c.client).value();
	ASSERT_EQ(listed.size(), 3u);
	EXPECT_EQ(listed[0].id, 7);
	EXPECT_TRUE(same(listed[0].address, server1));
	EXPECT_EQ(listed[0].port, 444);
	EXPECT_EQ(listed[1].id, 9);
	EXPECT_TRUE(same(listed[1].address, v6));
	EXPECT_EQ(listed[1].port, 0);
	EXPECT_EQ(listed[2].id, 200);
	EXPECT_TRUE(same(listed[2].address, server0));
	ASSERT_EQ(withdraw(c.server, 9), 0);
	(void)told.expect(PM_REMOVED, c.client);
	listed = listed_at(lab.client, c.client).value();
	ASSERT_EQ(listed.size(), 2u);
	EXPECT_EQ(listed[1].id, 200);
	EXPECT_TRUE(listed_at(lab.server, c.server).value().empty()) << "what it announced itself is not the peer's";
	EXPECT_FALSE(listed_at(lab.server, c.client)) << "a connection of another namespace";
}

} // namespace
