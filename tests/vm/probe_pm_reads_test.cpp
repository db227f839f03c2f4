// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a path manager in the kernel can read is true, and what it can set is set.
#include <algorithm>
#include <cerrno>
#include <optional>

#include "pm-bpf/attachment.hpp"
#include "pm-core/address.hpp"
#include "pm-netlink/announced_list.hpp"
#include "tests/vm/probe_pm.hpp"

namespace {

using namespace pm;
using namespace pm::test;
using replay::lab;

constexpr unsigned established = 1; // TCP_ESTABLISHED

using announcements = std::vector<netlink::peers::announcement>;

class probe_reads : public probed {
protected:
	// What the kernel lists by netlink; nothing: it keeps no list of that connection.
	static std::optional<announcements> listed_at(const netns &where, std::uint32_t token)
	{
		return must(in_namespace(where, [&] {
			return netlink::announced_list::open().map(
				[&](netlink::announced_list list) { return list.of(token); });
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
