// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What is known of connections, and what the kernel lists of them: the second replaces the first.
#include "pm-netlink/adoption.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::netlink;
using namespace pm::test;

namespace {

constexpr std::uint32_t token = 7;

// A snapshot by hand. Connections are to be added in the order of their tokens.
struct listing {
	listing &connection(std::uint32_t its = token, bool client = true, bool fully_established = true,
			    std::uint8_t remote = 1)
	{
		all.connections.push_back({.token = its,
					   .local_port = client_port,
					   .remote_port = server_port,
					   .local = local4(1),
					   .remote = remote4(remote)});
		subflow(1, remote, client_port);
		all.subflows.back().initial = true;
		all.subflows.back().opened_here = client;
		all.subflows.back().fully_established = fully_established;
		return *this;
	}
	listing &subflow(std::uint8_t local, std::uint8_t remote, std::uint16_t port, bool opened_here = true)
	{
		all.subflows.push_back({.token = all.connections.back().token,
					.local_port = opened_here ? port : server_port,
					.remote_port = opened_here ? server_port : port,
					.local = local4(local),
					.remote = remote4(remote),
					.local_id = static_cast<u8>(local - 1),
					.remote_id = static_cast<u8>(remote - 1),
					.opened_here = opened_here,
					.fully_established = true});
		return *this;
	}
	listing &opening(std::uint8_t local, std::uint8_t remote, std::uint16_t port)
	{
		subflow(local, remote, port);
		all.subflows.back().opening = true;
		all.subflows.back().fully_established = false;
		return *this;
	}
	snapshot_subflow &last() { return all.subflows.back(); }
	snapshot all;
};

const kernels_list keeps_none = [](std::uint32_t) { return std::nullopt; };

struct host {
	explicit host(unsigned locals = 2, std::string_view policy = "fullmesh", std::size_t most = 100)
		: managed(**find_policy(policy), make_settings(**find_policy(policy)).value(), most)
	{
		for (unsigned l = 1; l <= locals; ++l)
			handle(local_added(local4(static_cast<u8>(l)), l));
	}

	void handle(const pm_event &event)
	{
		managed.handle(event, [&](const pm_result &result) {
			commands.insert(commands.end(), result.command, result.command + result.commands);
		});
	}
	// An established connection that was heard of as it should be, with all that was opened.
	void connect(std::uint32_t its = token)
	{
		handle(created(its));
		handle(established(its));
		for (const pm_command &each : std::exchange(commands, {}))
			handle(answer(PM_SUB_ESTABLISHED, each, port_of(each.local)));
	}
	// As what is announced by the service: known to the connection and of the peer.
	void announce(std::uint32_t its, std::uint8_t id, const pm_addr &address)
	{
		handle(announced(its, id, address));
		peers_known.add(managed.find(its)->remote[0], {address, 0, id});
	}
	adoption adopt(const listing &listed, bool announcements_missed = false)
	{
		commands.clear();
		return netlink::adopt(listed.all, managed, peers_known, announcements_missed, kept,
				      [this](const pm_event &event) { handle(event); });
	}
	// Commands of a type as {local, remote}, numbers of their addresses.
	std::multiset<std::pair<unsigned, unsigned>> told(pm_command_type type) const
	{
		std::multiset<std::pair<unsigned, unsigned>> all;
		for (const pm_command &each : commands)
			if (each.type == type)
				all.emplace(each.local.bytes[14], each.remote.bytes[14]);
		return all;
	}
	static std::uint16_t port_of(const pm_addr &local)
	{
		return static_cast<std::uint16_t>(50000 + local.bytes[14]);
	}

	manager managed;
	peers peers_known;
	kernels_list kept = keeps_none;
	std::vector<pm_command> commands;
};

using pairs = std::multiset<std::pair<unsigned, unsigned>>;

// ---- connections ----

TEST(adoption, of_nothing_changes_nothing)
{
	host client;
	const adoption done = client.adopt({});
	EXPECT_EQ(done.adopted + done.dropped + done.recovered + done.unrecovered, 0u);
	EXPECT_EQ(client.managed.connections(), 0u);
}

TEST(adoption, takes_over_connections_that_were_not_known_and_gives_them_their_paths)
{
	host client{3};
	const adoption done = client.adopt(listing{}.connection(5).connection(7).subflow(2, 1, 50002));
	EXPECT_EQ(done.adopted, 2u);
	EXPECT_EQ(done.dropped, 0u);
	EXPECT_EQ(client.managed.connections(), 2u);
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}, {3, 1}, {3, 1}}));
	EXPECT_EQ(client.commands.size(), 3u);
	const adoption again = client.adopt(listing{}.connection(5).connection(7));
	EXPECT_EQ(again.adopted, 0u) << "now they are known";
}

struct side {
	const char *what;
	listing listed;
	bool server;
};

TEST(adoption, tells_the_side_of_a_connection_by_who_opened_it)
{
	const side table[] = {
		{"opened here", listing{}.connection(token, true), false},
		{"opened by the peer", listing{}.connection(token, false), true},
		{"opened by the peer, who joined too", listing{}.connection(token, false).subflow(1, 2, 50000, false),
		 true},
		{"opened by the peer, joined from here", listing{}.connection(token, false).subflow(2, 1, 50000, true),
		 true},
	};
	for (const side &each : table) {
		host any;
		any.adopt(each.listed);
		const pm_connection *connection = any.managed.find(token);
		ASSERT_TRUE(connection);
		EXPECT_EQ(!!(connection->flags & PM_CONN_SERVER_SIDE), each.server) << each.what;
		EXPECT_EQ(any.told(PM_OPEN_SUBFLOW).empty(), each.server) << each.what;
	}
}

// When the initial subflow is gone, a join tells: only clients open them.
TEST(adoption, tells_the_side_of_a_connection_without_its_initial_subflow)
{
	for (const bool here : {true, false}) {
		listing listed;
		listed.connection(token).subflow(1, 2, 50000, here);
		listed.all.subflows.erase(listed.all.subflows.begin());
		host any;
		any.adopt(listed);
		ASSERT_TRUE(any.managed.find(token));
		EXPECT_EQ(!!(any.managed.find(token)->flags & PM_CONN_SERVER_SIDE), !here);
	}
}

TEST(adoption, knows_a_socket_of_ipv4)
{
	for (const bool ipv4 : {false, true}) {
		host client;
		client.handle(local_added(local6(9), 9));
		listing listed;
		listed.connection().all.connections[0].ipv4_socket = ipv4;
		client.peers_known.add(remote4(1), {remote6(2), 0, 4});
		client.adopt(listed);
		EXPECT_EQ(client.told(PM_OPEN_SUBFLOW).size(), ipv4 ? 1u : 2u);
	}
}

TEST(adoption, drops_connections_that_do_not_exist_any_more)
{
	host client;
	for (const std::uint32_t each : {3u, 5u, 9u})
		client.connect(each);
	const adoption done = client.adopt(listing{}.connection(5).subflow(2, 1, 50002));
	EXPECT_EQ(done.dropped, 2u);
	EXPECT_EQ(done.adopted, 0u);
	EXPECT_EQ(client.managed.connections(), 1u);
	EXPECT_TRUE(client.managed.find(5));
	EXPECT_TRUE(client.commands.empty());
}

TEST(adoption, drops_before_it_adopts_so_that_there_is_room)
{
	host client{2, "fullmesh", 1};
	client.connect(9);
	const adoption done = client.adopt(listing{}.connection(5));
	EXPECT_EQ(done.dropped, 1u);
	EXPECT_EQ(done.adopted, 1u);
	EXPECT_TRUE(client.managed.find(5));
	EXPECT_EQ(client.managed.counted().table_full, 0u);
}

TEST(adoption, counts_only_what_it_has_room_for)
{
	host client{2, "fullmesh", 1};
	EXPECT_EQ(client.adopt(listing{}.connection(5).connection(7)).adopted, 1u);
	EXPECT_EQ(client.managed.connections(), 1u);
	EXPECT_GE(client.managed.counted().table_full, 1u);
	EXPECT_EQ(client.adopt(listing{}.connection(5).connection(7)).adopted, 0u);
}

// Until the third packet has come nobody may join, and when it comes, an event tells.
TEST(adoption, leaves_alone_what_is_not_fully_established)
{
	host client;
	client.handle(created(9));
	const adoption done = client.adopt(listing{}.connection(5, true, false).connection(9, true, false));
	EXPECT_EQ(done.adopted, 0u);
	EXPECT_EQ(done.dropped, 0u) << "it exists";
	EXPECT_FALSE(client.managed.find(5));
	ASSERT_TRUE(client.managed.find(9));
	EXPECT_FALSE(client.managed.find(9)->flags & PM_CONN_ESTABLISHED);
	EXPECT_TRUE(client.commands.empty());
	client.handle(established(9));
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}}));
}

TEST(adoption, makes_up_for_a_connection_whose_establishment_was_missed)
{
	host client;
	client.handle(created(token));
	const adoption done = client.adopt(listing{}.connection());
	EXPECT_EQ(done.adopted, 0u) << "it was known";
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}}));
}

// ---- subflows ----

TEST(adoption, of_what_is_known_already_commands_nothing)
{
	host client{3};
	client.connect();
	client.adopt(listing{}.connection().subflow(2, 1, 50002).subflow(3, 1, 50003));
	EXPECT_TRUE(client.commands.empty());
}

TEST(adoption, opens_again_what_has_vanished)
{
	host client{3};
	client.connect();
	client.adopt(listing{}.connection().subflow(2, 1, 50002));
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{3, 1}}));
}

TEST(adoption, opens_the_initial_subflow_again_too)
{
	host client;
	client.connect();
	listing listed;
	listed.connection().subflow(2, 1, 50002);
	listed.all.subflows.erase(listed.all.subflows.begin());
	client.adopt(listed);
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{1, 1}}));
}

TEST(adoption, does_not_open_again_what_is_being_opened)
{
	host client{3};
	client.adopt(listing{}.connection().opening(2, 1, 50002));
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{3, 1}})) << "of a connection that was not known";
	client.adopt(listing{}.connection().opening(2, 1, 50002).opening(3, 1, 50003));
	EXPECT_TRUE(client.commands.empty()) << "of one that was";
	// What was being opened is there under its port, and is taken for that.
	client.adopt(listing{}.connection().subflow(2, 1, 50002).subflow(3, 1, 50003));
	EXPECT_TRUE(client.commands.empty());
	EXPECT_EQ(client.managed.find(token)->subflows, 3u);
}

TEST(adoption, opens_again_what_was_being_opened_and_came_to_nothing)
{
	host client;
	client.handle(created(token));
	client.handle(established(token));
	ASSERT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}}));
	client.adopt(listing{}.connection());
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}}));
}

TEST(adoption, closes_again_what_should_be_closed_and_is_there)
{
	host client;
	client.connect();
	client.handle(local_removed(local4(2)));
	ASSERT_EQ(client.told(PM_CLOSE_SUBFLOW), (pairs{{2, 1}}));
	client.adopt(listing{}.connection().subflow(2, 1, 50002));
	EXPECT_EQ(client.told(PM_CLOSE_SUBFLOW), (pairs{{2, 1}}));
}

// Or an overrun that lasts, and with it one resync after the other, would mean attempts without end.
TEST(adoption, leaves_alone_where_subflows_had_failed_too_often_until_a_retry)
{
	host client;
	client.handle(created(token));
	client.handle(established(token));
	for (unsigned failures = 0; failures < PM_MAX_FAILURES; ++failures)
		for (const pm_command &each : std::exchange(client.commands, {}))
			client.handle(answer(PM_COMMAND_FAILED, each, 0));
	ASSERT_TRUE(client.commands.empty());
	client.adopt(listing{}.connection());
	EXPECT_TRUE(client.commands.empty());
	client.handle(event(PM_RETRY, token));
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{2, 1}}));
}

TEST(adoption, knows_who_asked_for_a_backup)
{
	host client;
	listing listed;
	listed.connection().last().backup = true;
	listed.subflow(2, 1, 50002).last().asked_backup = true;
	client.adopt(listed);
	// The policy wants none: what this side asked for it takes back, what the peer asked for is the peer's.
	EXPECT_EQ(client.told(PM_SET_BACKUP), (pairs{{2, 1}}));
	EXPECT_EQ(client.commands.size(), 1u);
	EXPECT_EQ(client.managed.find(token)->subflow[0].flags, PM_SUBFLOW_INITIAL | PM_SUBFLOW_BACKUP);
}

// A subflow may outlive the connection that it belonged to.
TEST(adoption, takes_no_subflow_without_its_connection)
{
	host client;
	listing listed;
	listed.connection(5).subflow(2, 1, 50002).connection(7).connection(9).subflow(2, 1, 50004);
	std::erase_if(listed.all.connections, [](const snapshot_connection &c) { return c.token == 7; });
	EXPECT_EQ(client.adopt(listed).adopted, 2u);
	EXPECT_FALSE(client.managed.find(7));
	EXPECT_TRUE(client.commands.empty());
}

// ---- announcements ----

TEST(adoption, recovers_what_other_connections_to_the_peer_have_heard)
{
	host client{1};
	client.connect(5);
	client.announce(5, 1, remote4(2));
	const adoption done = client.adopt(listing{}.connection(5).subflow(1, 2, 50001).connection(7), true);
	EXPECT_EQ(done.recovered, 1u) << "by the one that had not heard it";
	EXPECT_EQ(done.unrecovered, 0u);
	ASSERT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{1, 2}}));
	EXPECT_EQ(client.commands[0].token, 7u);
	EXPECT_EQ(client.commands[0].remote_id, 1u);
	EXPECT_EQ(client.commands[0].remote_port, server_port);
}

TEST(adoption, recovers_what_the_subflows_of_other_connections_show)
{
	host client{1};
	listing listed;
	listed.connection(5).subflow(1, 2, 50001).last().remote_port = 8080;
	listed.connection(7);
	const adoption done = client.adopt(listed, true);
	EXPECT_EQ(done.recovered, 1u);
	ASSERT_EQ(client.commands.size(), 1u);
	EXPECT_EQ(client.commands[0].token, 7u);
	EXPECT_EQ(client.commands[0].remote_id, 1u);
	EXPECT_EQ(client.commands[0].remote_port, 8080u);
	EXPECT_TRUE(same(client.commands[0].remote, remote4(2)));
}

TEST(adoption, learns_nothing_from_subflows_that_say_nothing_of_where_the_peer_listens)
{
	const listing table[] = {
		listing{}.connection(5).opening(1, 2, 50001).connection(7), // nobody may answer
		listing{}.connection(5, false).subflow(1, 2, 50001, false).connection(7), // the peer's own port
		listing{}.connection(5, true, true, 2).connection(7), // another peer's
	};
	for (const listing &each : table) {
		host client{1};
		EXPECT_EQ(client.adopt(each).recovered, 0u);
		EXPECT_TRUE(client.commands.empty());
	}
}

// With a kernel that keeps what was announced, exactly that counts, for each connection.
TEST(adoption, believes_the_kernels_list_of_announcements_more_than_other_connections)
{
	host client{1};
	client.connect(5);
	client.announce(5, 1, remote4(2));
	client.handle(removed(5, 1));
	client.kept = [](std::uint32_t token) -> std::optional<std::vector<peers::announcement>> {
		if (token == 7)
			return {{{remote4(3), 0, 2}}};
		if (token == 9)
			return {{}};
		return {{{remote4(2), 0, 1}}}; // taken back, and announced again
	};
	client.peers_known.add(remote4(1), {remote4(4), 0, 4});
	listing listed;
	listed.connection(5).connection(7).connection(9).connection(11, false);
	const adoption done = client.adopt(listed, true);
	EXPECT_EQ(done.recovered, 2u) << "5 and 7";
	EXPECT_EQ(done.unrecovered, 0u) << "9, too, is known to have heard nothing";
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW), (pairs{{1, 2}, {1, 3}}));
	for (const pm_command &each : client.commands)
		EXPECT_EQ(each.token, same(each.remote, remote4(2)) ? 5u : 7u);
	EXPECT_EQ(client.adopt(listed, true).recovered, 0u) << "again";
	client.kept = [](std::uint32_t) -> std::optional<std::vector<peers::announcement>> { return {{}}; };
	client.adopt(listed);
	EXPECT_TRUE(client.managed.find(7)->remote_gone & bit(1)) << "what the peer took back when nobody heard it";
}

TEST(adoption, recovers_nothing_that_the_peer_has_removed)
{
	host client{1};
	client.connect(5);
	client.connect(7);
	client.announce(5, 3, remote4(2));
	client.handle(announced(7, 3, remote4(2)));
	client.handle(removed(7, 3)); // only towards this connection
	const adoption done = client.adopt(listing{}.connection(5).subflow(1, 2, 50001).connection(7), true);
	EXPECT_EQ(done.recovered, 0u);
	EXPECT_TRUE(client.commands.empty());
}

// Behind one address there may be several hosts, each with addresses of its own under the same ids.
TEST(adoption, keeps_what_a_connection_has_heard_itself_although_others_to_the_address_heard_otherwise)
{
	host client{1};
	client.connect(5);
	client.connect(7);
	client.announce(5, 1, remote4(2));
	client.announce(7, 1, remote4(3));
	const adoption done = client.adopt(listing{}.connection(5).connection(7), true);
	EXPECT_EQ(done.recovered, 0u);
	EXPECT_EQ(done.unrecovered, 1u) << "5, should it be one host after all";
	EXPECT_TRUE(same(client.managed.find(5)->remote[1], remote4(2)));
	EXPECT_TRUE(same(client.managed.find(7)->remote[1], remote4(3)));
}

TEST(adoption, recovers_nothing_for_connections_that_others_opened)
{
	host any{1};
	any.peers_known.add(remote4(1), {remote4(2), 0, 3});
	const adoption done = any.adopt(listing{}.connection(token, false), true);
	EXPECT_EQ(done.recovered, 0u);
	EXPECT_EQ(done.unrecovered, 0u) << "nor are they in want of it";
	EXPECT_EQ(any.managed.find(token)->remotes, 1u);
}

TEST(adoption, counts_the_connections_whose_peer_nothing_is_known_of)
{
	host client{1};
	client.peers_known.add(remote4(2), {remote4(9), 0, 3});
	listing listed;
	listed.connection(3)
		.connection(5)
		.connection(7, true, true, 2)
		.connection(9, false)
		.connection(11, true, false);
	EXPECT_EQ(client.adopt(listed, true).unrecovered, 2u);
	EXPECT_EQ(client.adopt(listed, false).unrecovered, 0u) << "when nothing was missed";
}

// ---- whatever was believed ----

// A policy that decides nothing, so that what was adopted stays to be looked at.
void only_fold(const pm_namespace &ns, pm_connection &c, const pm_event &event, const pm_settings &, pm_result &result)
{
	begin(event, result);
	c.token = event.token;
	apply(ns, c, event, result);
}
const policy_info folding = {"folding", "for this test", {}, &only_fold};

// A subflow as {state, local and remote address, ports}. Of one that is being opened the local port is not known.
using subflow_as_it_is = std::tuple<unsigned, unsigned, unsigned, unsigned, unsigned>;

std::multiset<subflow_as_it_is> believed(const pm_connection &c)
{
	std::multiset<subflow_as_it_is> all;
	for (unsigned i = 0; i < c.subflows; ++i) {
		const pm_subflow &s = c.subflow[i];
		if (s.state != PM_SUBFLOW_NONE)
			all.emplace(s.state, c.local[s.local].bytes[14], c.remote[s.remote].bytes[14], s.local_port,
				    s.remote_port);
	}
	return all;
}

std::multiset<subflow_as_it_is> real(const snapshot &listed, std::uint32_t its)
{
	std::multiset<subflow_as_it_is> all;
	for (const snapshot_subflow &s : listed.subflows)
		if (s.token == its)
			all.emplace(s.opening ? PM_SUBFLOW_OPENING : PM_SUBFLOW_ESTABLISHED, s.local.bytes[14],
				    s.remote.bytes[14], s.opening ? 0 : s.local_port, s.remote_port);
	return all;
}

constexpr u8 addresses = 4, tokens = 4;
u8 address_of(std::uint32_t n) { return static_cast<u8>(1 + n % addresses); }

// Any number is an event about one of a few connections, at most as many addresses on either side as there is room for.
pm_event any_event(std::uint32_t n)
{
	const std::uint32_t its = 1 + n % tokens;
	const u8 l = address_of(n >> 4), r = address_of(n >> 6);
	const auto port = static_cast<std::uint16_t>(50000 + (n >> 8) % 8);
	const u8 side = its % 2 ? PM_SERVER_SIDE : 0;
	const std::uint16_t ours = side ? server_port : port, theirs = side ? port : server_port;
	switch ((n >> 16) % 8) {
	case 0: return created(its, local4(1), remote4(1), side);
	case 1:
	case 2: return established(its, local4(1), remote4(1), side);
	case 3: return announced(its, static_cast<u8>(r - 1), remote4(r));
	case 4: return removed(its, static_cast<u8>(r - 1));
	case 5: return (n >> 20) % 2 ? local_added(local4(l), l) : local_removed(local4(l));
	case 6: return on_path(PM_SUB_CLOSED, its, local4(l), remote4(r), ours, theirs);
	default: return on_path(PM_SUB_ESTABLISHED, its, local4(l), remote4(r), ours, theirs);
	}
}

// Any list of numbers is a snapshot.
snapshot any_snapshot(const std::vector<std::uint32_t> &numbers)
{
	listing listed;
	for (std::uint32_t its = 1; its <= tokens; ++its) {
		const bool client = its % 2 == 0;
		const std::uint32_t all = numbers.empty() ? 0 : numbers[its % numbers.size()];
		if (all % 4 == 0)
			continue; // it does not exist
		listed.connection(its, client, all % 4 != 1);
		std::set<std::tuple<u8, u8, std::uint16_t>> taken{{u8{1}, u8{1}, client_port}};
		for (const std::uint32_t n : numbers) {
			const u8 l = address_of(n >> 4), r = address_of(n >> 6);
			const auto port = static_cast<std::uint16_t>(50000 + (n >> 8) % 8);
			if (n % tokens + 1 != its || !taken.insert({l, r, port}).second)
				continue;
			if (client && (n >> 16) % 3 == 0)
				listed.opening(l, r, port);
			else
				listed.subflow(l, r, port, client);
			listed.last().fully_established = listed.last().fully_established && all % 4 != 1;
		}
	}
	return listed.all;
}

RC_GTEST_PROP(adoption_property, leaves_the_subflows_that_are_listed_and_no_others_whatever_was_believed,
	      (std::vector<std::uint32_t> past, std::vector<std::uint32_t> present))
{
	const policy_info *policy = &all_policies()[*rc::gen::inRange<std::size_t>(0, all_policies().size())];
	manager known{*policy, make_settings(*policy).value()};
	const auto handle = [&](const pm_event &event) { known.handle(event, [](const pm_result &) {}); };
	for (const std::uint32_t n : past)
		handle(any_event(n));
	std::set<std::uint32_t> were_established;
	known.for_each([&](const pm_connection &c) {
		if (c.flags & PM_CONN_ESTABLISHED)
			were_established.insert(c.token);
	});
	known.change(folding, {}, 100);

	const snapshot listed = any_snapshot(present);
	peers announced;
	(void)adopt(listed, known, announced, *rc::gen::arbitrary<bool>(), keeps_none, handle);

	known.for_each([&](const pm_connection &c) {
		RC_ASSERT(std::any_of(listed.connections.begin(), listed.connections.end(),
				      [&](const snapshot_connection &each) { return each.token == c.token; }));
	});
	for (const snapshot_connection &each : listed.connections) {
		const bool fully = std::any_of(listed.subflows.begin(), listed.subflows.end(),
					       [&](const snapshot_subflow &s) {
						       return s.token == each.token && s.fully_established;
					       });
		if (!fully && !were_established.count(each.token))
			continue;
		const pm_connection *connection = known.find(each.token);
		RC_ASSERT(connection != nullptr);
		RC_ASSERT(believed(*connection) == real(listed, each.token));
		RC_ASSERT(!!(connection->flags & PM_CONN_SERVER_SIDE) == (each.token % 2 == 1));
		RC_ASSERT(!(connection->flags & PM_CONN_RESYNCING));
	}
}

TEST(still_news, leaves_out_the_end_of_what_was_over_before_the_list_was_read)
{
	listing listed;
	listed.connection().subflow(2, 1, 50002);
	const auto on = [](pm_event_type type, std::uint16_t port) {
		return on_path(type, token, local4(2), remote4(1), port);
	};
	pm_event refused = on(PM_COMMAND_FAILED, 0);
	refused.command = PM_OPEN_SUBFLOW;
	pm_event not_announced = on(PM_COMMAND_FAILED, 0);
	not_announced.command = PM_ANNOUNCE;
	const std::vector<pm_event> came = {
		on(PM_SUB_CLOSED, 50001), // not listed: left out
		on(PM_SUB_CLOSED, 50002), // listed
		on(PM_SUB_CLOSED, 50003), // not yet opened: another one of that name was over before
		on(PM_SUB_ESTABLISHED, 50003),
		on(PM_SUB_CLOSED, 50003),
		refused, // left out: the list shows that there is none
		not_announced,
		event(PM_CLOSED, token),
	};
	std::vector<std::pair<int, int>> kept;
	for (const pm_event &each : still_news(listed.all, came))
		kept.emplace_back(each.type, each.local_port);
	EXPECT_EQ(kept, (std::vector<std::pair<int, int>>{{PM_SUB_CLOSED, 50002},
							  {PM_SUB_ESTABLISHED, 50003},
							  {PM_SUB_CLOSED, 50003},
							  {PM_COMMAND_FAILED, 0},
							  {PM_CLOSED, 0}}));
}

TEST(still_news, does_not_take_the_end_of_a_subflow_for_that_of_its_successor)
{
	host client;
	client.connect();
	const listing listed = listing{}.connection(); // the second subflow is gone
	EXPECT_EQ(client.adopt(listed).dropped, 0u);
	EXPECT_EQ(client.told(PM_OPEN_SUBFLOW).size(), 1u);
	client.commands.clear();
	const pm_event closed = on_path(PM_SUB_CLOSED, token, local4(2), remote4(1), host::port_of(local4(2)));
	for (const pm_event &each : still_news(listed.all, {closed}))
		client.handle(each);
	EXPECT_TRUE(client.commands.empty()) << "it is being opened already";
}

} // namespace
