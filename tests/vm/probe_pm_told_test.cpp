// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A path manager in the kernel is told of everything, with what it is about: each of the twelve notifications, on real
// connections. The tests are named after them.
#include <algorithm>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pm-core/address.hpp"
#include "tests/vm/probe_pm.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

class probe_told : public probed {
protected:
	// With these addresses and ports, in this order.
	static probe::condition on(const pm_addr &local, std::uint16_t local_port, const pm_addr &remote,
				   std::uint16_t remote_port)
	{
		return [=](const probe_record &each) {
			return same(each.what.local, local) && same(each.what.remote, remote) &&
			       (!local_port || each.what.local_port == local_port) &&
			       (!remote_port || each.what.remote_port == remote_port);
		};
	}

	// From the client's second address to the server's first. Yields the client's port.
	std::uint16_t open_second(const pair &of)
	{
		EXPECT_EQ(told.carry_out(opening(of.client, &client1, nullptr)), 0);
		return told.expect(PM_SUB_ESTABLISHED, of.client, on(client1, 0, server0, port)).what.local_port;
	}

	// One of the client's subflows.
	int order_about(pm_u8 type, const pair &of, std::uint16_t local_port, bool backup = false)
	{
		probe_order made{};
		made.what.type = type;
		made.what.token = of.client;
		made.what.local_port = local_port;
		made.what.flags = backup ? PM_BACKUP : 0;
		return told.carry_out(made);
	}

	// `closed` came once, and nothing after it.
	void expect_closed(std::uint32_t token)
	{
		(void)told.expect(PM_CLOSED, token);
		usleep(200'000);
		EXPECT_EQ(told.count(PM_CLOSED, token), 1u);
		probe_record last{};
		for (const probe_record &each : told.records())
			if (each.what.token == token)
				last = each;
		EXPECT_EQ(last.what.type, PM_CLOSED) << "it is the last one";
	}
};

TEST_F(probe_told, created_established_and_closed_at_both_ends_once)
{
	for (const bool ipv6 : {false, true}) {
		std::uint32_t client = 0, server = 0;
		{
			const pair c = open(ipv6);
			const pm_addr here = lab::client_address(0, ipv6), there = lab::server_address(0, ipv6);
			for (const unsigned type : {PM_CREATED, PM_ESTABLISHED}) {
				(void)told.expect(type, c.client, on(here, c.ends.client_port, there, port));
				(void)told.expect(type, c.server, on(there, port, here, c.ends.client_port));
				EXPECT_EQ(told.count(type, c.client), 1u) << type;
				EXPECT_EQ(told.count(type, c.server), 1u) << type;
			}
			EXPECT_EQ(told.count(PM_CLOSED), ipv6 ? 2u : 0u);
			client = c.client;
			server = c.server;
		}
		expect_closed(client);
		expect_closed(server);
	}
}

TEST_F(probe_told, closed_when_it_falls_back_to_tcp)
{
	must(lab.client.set_sysctl("net.mptcp.checksum_enabled", "1"));
	must(lab.server.set_sysctl("net.mptcp.checksum_enabled", "1"));
	// One byte of each large packet is another one at the server's end, so that the checksum of MPTCP is wrong.
	run_in(lab.client, "tc qdisc add dev p0 clsact && tc filter add dev p0 egress protocol ip matchall "
			   "action pedit munge offset 148 u8 invert pipe csum tcp >/dev/null");
	connection ends(lab, listening, port);
	const std::uint32_t server = token_of(ends.client_port, true), client = token_of(ends.client_port, false);
	char sent[500] = "", received[500];
	ASSERT_EQ(send(ends.client.get(), sent, sizeof sent, 0), static_cast<ssize_t>(sizeof sent));
	ASSERT_EQ(recv(ends.server.get(), received, sizeof received, MSG_WAITALL),
		  static_cast<ssize_t>(sizeof received));
	(void)told.expect(PM_CLOSED, server);
	(void)told.expect(PM_CLOSED, client);
	ends.carry_a_byte(); // it goes on, as TCP
	ends.client = {};
	ends.server = {};
	expect_closed(server);
	expect_closed(client);
}

TEST_F(probe_told, neither_created_nor_closed_of_a_connection_to_a_peer_without_mptcp)
{
	const descriptor plain = listener(lab, 444, {}, IPPROTO_TCP);
	{
		const connection ends(lab, plain, 444);
		ends.carry_a_byte();
	}
	const pair c = open(); // later: what was to be told of the other one has been
	EXPECT_EQ(told.count(PM_CREATED), 2u);
	EXPECT_EQ(told.count(PM_CLOSED), 0u);
}

TEST_F(probe_told, closed_when_the_peer_resets_it)
{
	const netlink::mib resets = counter_in(lab.server, "MPFastcloseRx");
	pair c = open();
	c.ends.reset_by_the_client();
	expect_closed(c.client);
	char byte = 0;
	EXPECT_EQ(recv(c.ends.server.get(), &byte, 1, 0), -1);
	EXPECT_EQ(errno, ECONNRESET);
	EXPECT_EQ(resets.read().value_or(0), 1u) << "MP_FASTCLOSE";
	c.ends.server = descriptor{};
	expect_closed(c.server);
}

// Not when the application closes its socket, which may be much later.
TEST_F(probe_told, closed_as_soon_as_the_peer_resets_it)
{
	pair c = open();
	c.ends.reset_by_the_client();
	(void)told.expect(PM_CLOSED, c.server);
}

TEST_F(probe_told, closed_when_nobody_accepts_it)
{
	const auto to = replay::to_sockaddr(server0, port);
	descriptor client = must(in_namespace(lab.client, [&]() -> expected<descriptor> {
		descriptor made{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP)};
		if (!made || connect(made.get(), to.get(), to.length) != 0)
			return fail_errno("cannot connect");
		return made;
	}));
	const auto server = told.expect(PM_CREATED, 0,
					[](const probe_record &each) { return each.what.flags & PM_SERVER_SIDE; });
	listening = descriptor{};
	expect_closed(server.what.token);
}

TEST_F(probe_told, add_addr_received_and_rm_addr_received_by_the_peer)
{
	const pair c = open();
	const pm_addr v6 = lab::server_address(1, true);
	ASSERT_EQ(announce(c.server, 7, server1, 444), 0);
	ASSERT_EQ(announce(c.server, 9, v6), 0);
	(void)told.expect(PM_ANNOUNCED, c.client, [&](const probe_record &each) {
		return each.what.remote_id == 7 && same(each.what.remote, server1) && each.what.remote_port == 444;
	});
	(void)told.expect(PM_ANNOUNCED, c.client, [&](const probe_record &each) {
		return each.what.remote_id == 9 && same(each.what.remote, v6) && each.what.remote_port == 0;
	});
	EXPECT_EQ(told.count(PM_REMOVED), 0u);
	ASSERT_EQ(withdraw(c.server, 7), 0);
	(void)told.expect(PM_REMOVED, c.client, [](const probe_record &each) { return each.what.remote_id == 7; });
	EXPECT_EQ(told.count(PM_REMOVED), 1u);
	EXPECT_EQ(told.count(PM_ANNOUNCED, c.server), 0u) << "it is the peer who is told";
}

TEST_F(probe_told, nothing_more_of_a_connection_that_the_application_has_closed)
{
	pair c = open();
	const netlink::mib arrived = counter_in(lab.client, "AddAddr");
	c.ends.client = descriptor{};
	(void)told.expect(PM_CLOSED, c.client);
	ASSERT_EQ(announce(c.server, 7, server1), 0);
	ASSERT_TRUE(await(10, [&] { return arrived.read().value_or(0) > 0; })); // the server has not closed it
	expect_closed(c.client);
	EXPECT_EQ(told.count(PM_ANNOUNCED, c.client), 0u);
}

TEST_F(probe_told, subflow_established_and_subflow_closed_at_both_ends)
{
	const pair c = open();
	const std::uint16_t client_port = open_second(c);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server, on(server0, port, client1, client_port));
	EXPECT_EQ(told.count(PM_SUB_ESTABLISHED), 2u);
	EXPECT_EQ(told.count(PM_SUB_CLOSED), 0u);
	ASSERT_EQ(order_about(PM_CLOSE_SUBFLOW, c, client_port), 0);
	(void)told.expect(PM_SUB_CLOSED, c.client, on(client1, client_port, server0, port));
	(void)told.expect(PM_SUB_CLOSED, c.server, on(server0, port, client1, client_port));
	c.ends.carry_a_byte();
	EXPECT_EQ(told.count(PM_SUB_CLOSED), 2u);
}

TEST_F(probe_told, priority_changed_when_the_peer_changes_it)
{
	const pair c = open();
	const std::uint16_t client_port = open_second(c);
	(void)told.expect(PM_SUB_ESTABLISHED, c.server);
	EXPECT_EQ(told.count(PM_SUB_PRIORITY), 0u);
	ASSERT_EQ(order_about(PM_SET_BACKUP, c, client_port, true), 0);
	(void)told.expect(PM_SUB_PRIORITY, c.server, on(server0, port, client1, client_port));
	const auto backups = [&] {
		const auto all = told.subflows(c.server);
		return std::count_if(all.begin(), all.end(),
				     [](const probe_record &each) { return each.what.flags & PM_BACKUP; });
	};
	EXPECT_EQ(backups(), 1);
	ASSERT_EQ(order_about(PM_SET_BACKUP, c, client_port, false), 0);
	EXPECT_TRUE(await(10, [&] { return told.count(PM_SUB_PRIORITY, c.server) == 2; }));
	EXPECT_EQ(backups(), 0);
}

TEST_F(probe_told, listener_created_and_listener_closed)
{
	const auto of_port = [](const probe_record &each) { return each.what.local_port == 4711; };
	{
		const descriptor another = listener(lab, 4711);
		(void)told.expect(PM_LISTENER_CREATED, 0, of_port);
		const auto closed = told.all(PM_LISTENER_CLOSED);
		EXPECT_EQ(std::count_if(closed.begin(), closed.end(), of_port), 0);
	}
	(void)told.expect(PM_LISTENER_CLOSED, 0, of_port);
}

TEST_F(probe_told, local_addr_added_and_local_addr_removed_for_each_connection_of_the_namespace)
{
	const pair one = open(), other = open(true);
	const unsigned p1 = interface_in(lab.client, "p1");
	const auto is_of = [&](const pm_addr &address) {
		return [=](const probe_record &each) {
			return same(each.what.local, address) && each.what.ifindex == p1;
		};
	};
	pm_addr v6 = lab::client_address(1, true);
	v6.bytes[15] = 9;
	for (const auto &[text, address] :
	     {std::pair{"10.0.9.9/24", ipv4(10, 0, 9, 9)}, std::pair{"fd00:2::9/64", v6}}) {
		run_in(lab.client, std::string("ip address add dev p1 ") + text); // with duplicate address detection
		for (const pair *each : {&one, &other})
			(void)told.expect(PM_LOCAL_ADDED, each->client, is_of(address));
		run_in(lab.client, std::string("ip address delete dev p1 ") + text);
		for (const pair *each : {&one, &other})
			(void)told.expect(PM_LOCAL_REMOVED, each->client, is_of(address));
	}
	for (const unsigned type : {PM_LOCAL_ADDED, PM_LOCAL_REMOVED}) {
		EXPECT_EQ(told.count(type, one.client), 2u) << type;
		EXPECT_EQ(told.count(type, one.server), 0u) << "another namespace";
	}
	run_in(lab.server, "ip address add dev p1 10.0.9.9/24 && ip address delete dev p1 10.0.9.9/24");
	for (const unsigned type : {PM_LOCAL_ADDED, PM_LOCAL_REMOVED}) {
		for (const pair *each : {&one, &other})
			EXPECT_TRUE(same(told.expect(type, each->server).what.local, ipv4(10, 0, 9, 9)));
		EXPECT_EQ(told.count(type, one.client), 2u) << "another namespace";
	}
}

TEST_F(probe_told, local_addr_removed_and_local_addr_added_when_one_is_deprecated_but_not_of_new_lifetimes)
{
	const pair c = open();
	const auto change = [&](const char *lifetimes) {
		run_in(lab.client, std::string("ip address replace dev p1 fd00:2::9/64 nodad ") + lifetimes);
	};
	const auto counts = [&] {
		return std::pair{told.count(PM_LOCAL_ADDED, c.client), told.count(PM_LOCAL_REMOVED, c.client)};
	};
	change("valid_lft 1000 preferred_lft 500");
	(void)told.expect(PM_LOCAL_ADDED, c.client);
	const auto before = counts();
	change("valid_lft 2000 preferred_lft 1000");
	EXPECT_EQ(counts(), before) << "as each router advertisement does";
	change("valid_lft 2000 preferred_lft 0");
	EXPECT_EQ(counts(), std::pair(before.first, before.second + 1));
	change("valid_lft 2000 preferred_lft 1000");
	EXPECT_EQ(counts(), std::pair(before.first + 1, before.second + 1));
}

TEST_F(probe_told, local_addr_added_also_after_another_path_manager_has_been_chosen)
{
	const pair c = open();
	run_in(lab.client, "sysctl -qw net.mptcp.path_manager=kernel");
	run_in(lab.client, "ip address add dev p1 10.0.9.9/24");
	(void)told.expect(PM_LOCAL_ADDED, c.client);
}

TEST_F(probe_told, local_addr_removed_and_local_addr_added_when_an_interface_goes_down_and_comes_up)
{
	const pair c = open();
	const auto is_of = [](const pm_addr &address) {
		return [=](const probe_record &each) { return same(each.what.local, address); };
	};
	run_in(lab.client, "ip link set p1 down");
	(void)told.expect(PM_LOCAL_REMOVED, c.client, is_of(client1));
	(void)told.expect(PM_LOCAL_REMOVED, c.client, is_of(lab::client_address(1, true)));
	EXPECT_EQ(told.count(PM_LOCAL_ADDED), 0u);
	run_in(lab.client, "ip link set p1 up"); // IPv6 addresses are gone, IPv4 ones were kept
	(void)told.expect(PM_LOCAL_ADDED, c.client, is_of(client1));
}

TEST_F(probe_told, local_addr_removed_of_an_ipv6_address_that_an_interface_keeps_while_it_is_down)
{
	const pair c = open();
	const pm_addr kept = lab::client_address(1, true);
	const auto is_it = [&](const probe_record &each) { return same(each.what.local, kept); };
	run_in(lab.client, "sysctl -qw net.ipv6.conf.p1.keep_addr_on_down=1 && ip link set p1 down");
	(void)told.expect(PM_LOCAL_REMOVED, c.client, is_it);
	run_in(lab.client, "ip link set p1 up");
	(void)told.expect(PM_LOCAL_ADDED, c.client, is_it);
}

TEST_F(probe_told, local_addr_removed_when_an_interface_has_no_ipv6_any_more)
{
	const pair c = open();
	const auto is_it = [](const probe_record &each) { return same(each.what.local, lab::client_address(1, true)); };
	run_in(lab.client, "sysctl -qw net.ipv6.conf.p1.disable_ipv6=1");
	(void)told.expect(PM_LOCAL_REMOVED, c.client, is_it);
	const auto listed = told.list(PROBE_LOCAL, c.client);
	EXPECT_EQ(std::count_if(listed.begin(), listed.end(), is_it), 0);
}

TEST_F(probe_told, local_addr_added_of_an_ipv6_address_on_an_interface_that_is_down_when_it_comes_up)
{
	const pair c = open();
	pm_addr v6 = lab::client_address(1, true);
	v6.bytes[15] = 9;
	run_in(lab.client, "ip link set p1 down && ip address add dev p1 fd00:2::9/64 nodad");
	EXPECT_EQ(told.count(PM_LOCAL_ADDED, c.client), 0u) << "no subflow could use it";
	run_in(lab.client, "ip link set p1 up");
	(void)told.expect(PM_LOCAL_ADDED, c.client,
			  [&](const probe_record &each) { return same(each.what.local, v6); });
}

} // namespace
