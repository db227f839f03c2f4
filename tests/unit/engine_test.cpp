// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The rules of the engine, one sentence each.
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/policy_host.hpp"

using namespace pm;
using namespace pm::test;

namespace {

using host = policy_host;

TEST(engine, does_not_open_again_what_a_resync_finds_being_opened)
{
	host client{"ndiffports", {"subflows=4"}};
	const auto asked = client.connect(1);
	ASSERT_EQ(opened(asked), 3u);
	client(event(PM_RESYNC_BEGIN, token));
	client(established(token));
	client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
	client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1), 50000));
	client(on_path(PM_SUB_OPENING, token, local4(1), remote4(1), 50001));
	EXPECT_EQ(opened(client(event(PM_RESYNC_END, token))), 1u) << "the third one does not exist";
}

TEST(engine, closes_an_ipv4_subflow_in_the_family_of_its_socket)
{
	for (const u8 family : {u8{0}, static_cast<u8>(PM_IPV4_SOCKET)}) {
		host client{"fullmesh"};
		pm_event subflow = answer(PM_SUB_ESTABLISHED, client.connect(2)[0], 50000);
		subflow.flags = family;
		client(subflow);
		const auto close = of_type(client(local_removed(local4(2), 2)), PM_CLOSE_SUBFLOW);
		ASSERT_EQ(close.size(), 1u);
		EXPECT_EQ(close[0].flags, family ? 0 : PM_MAPPED);
	}
}

TEST(engine, tries_another_id_where_the_kernel_may_know_the_address_by_an_older_one)
{
	constexpr u8 invalid = 22; // EINVAL
	host client{"fullmesh"};
	auto commands = client.connect(2);
	std::set<u8> ids;
	for (int i = 0; i < 2 * PM_MAX_LOCALS; ++i) {
		if (commands.empty())
			commands = client(event(PM_RETRY, token));
		ASSERT_EQ(opened(commands), 1u);
		ids.insert(commands[0].local_id);
		pm_event refused = answer(PM_COMMAND_FAILED, commands[0], 0);
		refused.error = invalid;
		commands = client(refused);
	}
	EXPECT_EQ(ids.size(), 2u * PM_MAX_LOCALS) << "each of the low ones has had its turn";
	EXPECT_EQ(*ids.begin(), 1) << "0 is the initial address";
}

TEST(engine, forgets_a_subflow_that_could_not_be_closed)
{
	host client{"fullmesh"};
	const auto asked = client.connect(2);
	client(answer(PM_SUB_ESTABLISHED, asked[0], 50000));
	const auto close = of_type(client(local_removed(local4(2), 2)), PM_CLOSE_SUBFLOW);
	ASSERT_EQ(close.size(), 1u);
	client(answer(PM_COMMAND_FAILED, close[0], 50000));
	EXPECT_EQ(client.managed.find(token)->subflows, 1u);
}

TEST(engine, decides_nothing_for_a_held_connection_before_the_next_retry)
{
	pm_namespace ns{};
	pm_connection connection{};
	pm_result result{};
	const policy_info &policy = **find_policy("fullmesh");
	const auto handle = [&](const pm_event &e) {
		policy.handle(ns, connection, e, {}, result);
		return result.commands;
	};
	handle(created(token));
	handle(established(token));
	connection.flags |= PM_CONN_HELD;
	EXPECT_EQ(handle(announced(token, 1, remote4(2))), 0);
	EXPECT_EQ(handle(event(PM_RETRY, token)), 1);
	EXPECT_EQ(handle(announced(token, 2, remote4(3))), 1);
}

TEST(engine, tries_again_after_a_retry_where_too_many_subflows_had_failed)
{
	host client{"fullmesh"};
	auto commands = client.connect(2);
	for (int i = 0; i < PM_MAX_FAILURES; ++i) {
		ASSERT_EQ(opened(commands), 1u);
		commands = client(answer(PM_COMMAND_FAILED, commands[0], 0));
	}
	EXPECT_TRUE(commands.empty());
	EXPECT_EQ(opened(client(event(PM_RETRY, token))), 1u);
}

TEST(engine, tries_again_when_the_kernel_refuses_a_command_and_then_leaves_it)
{
	host client{"fullmesh"};
	std::vector<pm_command> commands = client.connect(2);
	std::size_t attempts = 0;
	for (; !commands.empty(); ++attempts) {
		ASSERT_LT(attempts, 20u);
		commands = client(answer(PM_COMMAND_FAILED, commands[0], 0));
	}
	EXPECT_EQ(attempts, static_cast<std::size_t>(PM_MAX_FAILURES));
}

TEST(engine, forgives_failures_when_the_address_comes_anew)
{
	host client{"fullmesh"};
	std::vector<pm_command> commands = client.connect(2);
	while (!commands.empty())
		commands = client(answer(PM_SUB_CLOSED, commands[0], 50000));
	EXPECT_TRUE(client(local_removed(local4(2))).empty());
	EXPECT_EQ(opened(client(local_added(local4(2), 2))), 1u);
}

TEST(engine, closes_what_used_a_removed_remote_address)
{
	host client{"fullmesh"};
	client.connect(1);
	const auto open = client(announced(token, 2, remote4(2)));
	ASSERT_EQ(opened(open), 1u);
	EXPECT_TRUE(client(answer(PM_SUB_ESTABLISHED, open[0], 50001)).empty());
	const auto commands = client(removed(token, 2));
	ASSERT_EQ(closed(commands), 1u);
	EXPECT_TRUE(same(commands[0].remote, remote4(2)));
	EXPECT_EQ(commands[0].local_port, 50001);
	EXPECT_TRUE(client(removed(token, 2)).empty()) << "closing once is enough";
	EXPECT_TRUE(client(answer(PM_SUB_CLOSED, open[0], 50001)).empty()) << "what we closed is not reopened";
	EXPECT_EQ(opened(client(announced(token, 2, remote4(2)))), 1u) << "until it is announced again";
}

TEST(engine, closes_a_subflow_that_comes_up_after_its_remote_address_was_removed)
{
	host client{"fullmesh"};
	client.connect(1);
	const auto open = client(announced(token, 2, remote4(2)));
	ASSERT_EQ(opened(open), 1u);
	EXPECT_TRUE(client(removed(token, 2)).empty()) << "it has no name yet";
	EXPECT_EQ(closed(client(answer(PM_SUB_ESTABLISHED, open[0], 50001))), 1u);
}

TEST(engine, closes_subflows_beyond_the_plan_but_never_the_initial_one)
{
	host client{"fullmesh"};
	client.connect(1);
	const auto surplus = client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1), 50001));
	ASSERT_EQ(closed(surplus), 1u);
	EXPECT_EQ(surplus[0].local_port, 50001);
}

TEST(engine, takes_established_for_a_created_that_was_lost)
{
	host client{"fullmesh"};
	client(local_added(local4(1)));
	client(local_added(local4(2)));
	EXPECT_EQ(opened(client(established(token))), 1u);
}

TEST(engine, takes_a_join_for_an_established_that_was_lost)
{
	host client{"fullmesh"};
	client(local_added(local4(1)));
	client(local_added(local4(2)));
	client(created(token));
	EXPECT_EQ(opened(client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(2), 50001))), 2u);
}

TEST(engine, starts_over_when_a_token_comes_back_for_another_connection)
{
	host client{"fullmesh"};
	client.connect(2); // its CLOSED is lost
	pm_event next = created(token);
	next.local_port = 41000;
	client(next);
	next.type = PM_ESTABLISHED;
	EXPECT_EQ(opened(client(next)), 1u);
	EXPECT_EQ(client.managed.connections(), 1u);
}

TEST(engine, forgets_a_closed_connection_and_counts_what_comes_after)
{
	host client{"fullmesh"};
	client.connect(2);
	client(event(PM_CLOSED, token));
	EXPECT_EQ(client.managed.connections(), 0u);
	client(announced(token, 1, remote4(2)));
	client(event(PM_CLOSED, token));
	EXPECT_EQ(client.managed.counted().unknown, 2u);
}

TEST(engine, an_id_does_not_change_its_meaning_while_a_subflow_uses_it)
{
	host client{"fullmesh"};
	client.connect(1);
	EXPECT_EQ(opened(client(announced(token, 2, remote4(2)))), 1u);
	EXPECT_TRUE(client(announced(token, 2, remote4(3))).empty());
}

TEST(engine, learns_the_local_id_that_the_kernel_gave)
{
	host client{"fullmesh"};
	client(local_added(local4(1)));
	client(created(token));
	client(established(token));
	client(local_added(local4(2), 2)); // opened, with id 1
	pm_event theirs = on_path(PM_SUB_ESTABLISHED, token, local4(3), remote4(1), 50009);
	theirs.local_id = 1;
	client(theirs);
	const pm_connection *c = client.managed.find(token);
	ASSERT_NE(c, nullptr);
	for (unsigned l = 0; l < PM_MAX_LOCALS; ++l) {
		if (!(c->locals & bit(l)))
			continue;
		EXPECT_EQ(c->local_id[l] == 1, same(c->local[l], local4(3)));
	}
}

struct full_case {
	const char *what;
	std::uint64_t tally::*counter;
	void (*overfill)(host &);
};
class full_tables : public testing::TestWithParam<full_case> {};

TEST_P(full_tables, are_counted)
{
	host client{"fullmesh"};
	client.connect(1);
	EXPECT_EQ(client.managed.counted().*GetParam().counter, 0u);
	GetParam().overfill(client);
	EXPECT_GT(client.managed.counted().*GetParam().counter, 0u);
}
INSTANTIATE_TEST_SUITE_P(tables, full_tables,
			 testing::Values(full_case{"locals_of_the_namespace", &tally::full_locals,
						   [](host &h) {
							   for (u8 l = 2; l <= 9; ++l)
								   h(local_added(local4(l)));
						   }},
					 full_case{"remotes", &tally::full_remotes,
						   [](host &h) {
							   for (u8 r = 2; r <= 9; ++r)
								   h(announced(token, r, remote4(r)));
						   }},
					 full_case{"subflows", &tally::full_subflows,
						   [](host &h) {
							   for (u16 port = 0; port < 64; ++port)
								   h(on_path(PM_SUB_ESTABLISHED, token, local4(1),
									     remote4(1),
									     static_cast<u16>(50000 + port)));
						   }}),
			 [](const auto &info) { return info.param.what; });

TEST(full_tables, one_connection_too_many_is_lost_and_counted)
{
	const policy_info &policy = **find_policy("fullmesh");
	manager two{policy, *make_settings(policy), 2};
	for (u32 t = 1; t <= 3; ++t)
		two.handle(established(t), [](const pm_result &) {});
	EXPECT_EQ(two.connections(), 2u);
	EXPECT_EQ(two.counted().table_full, 1u);
}

TEST(engine, keeps_an_address_that_only_moved_to_another_interface)
{
	host client{"fullmesh"};
	client.connect(2);
	EXPECT_TRUE(client(local_added(local4(1), 7)).empty());
	EXPECT_TRUE(client(local_removed(local4(1), 1)).empty());
}

TEST(engine, leaves_a_connection_alone_whose_own_address_was_never_listed)
{
	host client{"fullmesh"};
	client(local_added(local4(2), 2));
	client(created(token));
	EXPECT_EQ(opened(client(established(token))), 1u);
	EXPECT_EQ(closed(client(local_removed(local4(1)))), 0u);
	EXPECT_EQ(closed(client(local_added(local4(3), 3))), 0u);
}

TEST(engine, a_client_may_come_back_to_a_server_from_an_address_that_it_had_removed)
{
	host server{"fullmesh"};
	server.connect(1, PM_SERVER_SIDE);
	pm_event join = on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(2), client_port, 50001);
	join.remote_id = 1;
	EXPECT_TRUE(server(join).empty());
	EXPECT_EQ(closed(server(removed(token, 1))), 1u);
	pm_event gone = join;
	gone.type = PM_SUB_CLOSED;
	EXPECT_TRUE(server(gone).empty());
	join.remote_port = 50002;
	join.remote_id = 2;
	EXPECT_TRUE(server(join).empty());
	EXPECT_EQ(closed(server(removed(token, 2))), 1u) << "by its new id";
}

TEST(engine, gives_no_id_twice_while_the_peer_may_remember_it)
{
	host client{"fullmesh"};
	std::set<u8> ids;
	client.connect(1);
	for (u8 l = 2; l <= 30; ++l) {
		const auto open = client(local_added(local4(l), l));
		ASSERT_EQ(opened(open), 1u);
		EXPECT_TRUE(ids.insert(open[0].local_id).second) << int{open[0].local_id};
		client(answer(PM_SUB_ESTABLISHED, open[0], 50001));
		client(local_removed(local4(l)));
		client(answer(PM_SUB_CLOSED, open[0], 50001));
	}
}

TEST(engine, two_remote_addresses_never_share_an_id)
{
	host client{"fullmesh"};
	client.connect(1);
	client(answer(PM_SUB_ESTABLISHED, client(announced(token, 2, remote4(2))).at(0), 50002));
	client(answer(PM_SUB_ESTABLISHED, client(announced(token, 3, remote4(3))).at(0), 50003));
	client(announced(token, 3, remote4(2))); // makes no sense
	const auto commands = client(removed(token, 3));
	ASSERT_EQ(closed(commands), 1u);
	EXPECT_TRUE(same(commands[0].remote, remote4(3)));
}

TEST(engine, reopens_what_others_close_but_not_for_ever)
{
	host client{"fullmesh"};
	auto commands = client.connect(2);
	int times = 0;
	for (u16 port = 50000; !commands.empty(); ++port, ++times) {
		ASSERT_LT(times, 100);
		client(answer(PM_SUB_ESTABLISHED, commands[0], port));
		commands = client(answer(PM_SUB_CLOSED, commands[0], port));
	}
	EXPECT_EQ(times, PM_MAX_CLOSURES);
}

TEST(resync, keeps_paths_to_addresses_whose_announcement_cannot_be_read_back)
{
	host client{"fullmesh"};
	client.connect(1);
	const auto open = client(announced(token, 2, remote4(2)));
	client(answer(PM_SUB_ESTABLISHED, open.at(0), 50002));
	client(event(PM_RESYNC_BEGIN, token));
	client(established(token));
	client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
	client(answer(PM_SUB_ESTABLISHED, open.at(0), 50002));
	EXPECT_TRUE(client(event(PM_RESYNC_END, token)).empty());
}

TEST(resync, decides_nothing_for_a_connection_that_was_not_described)
{
	host client{"fullmesh"};
	client(local_added(local4(1)));
	client(event(PM_RESYNC_BEGIN, token));
	EXPECT_TRUE(client(event(PM_RESYNC_END, token)).empty());
}

TEST(resync, adopts_subflows_that_exist_and_opens_only_what_is_missing)
{
	host late{"fullmesh"};
	for (u8 l = 1; l <= 3; ++l)
		late(local_added(local4(l), l));
	late(event(PM_RESYNC_BEGIN, token));
	late(established(token));
	late(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
	pm_event second = on_path(PM_SUB_ESTABLISHED, token, local4(2), remote4(1), 50002);
	second.local_id = 9;
	EXPECT_TRUE(late(second).empty());
	const auto commands = late(event(PM_RESYNC_END, token));
	ASSERT_EQ(opened(commands), 1u);
	EXPECT_TRUE(same(commands[0].local, local4(3)));
	EXPECT_NE(commands[0].local_id, 9);
	EXPECT_EQ(closed(commands), 0u);
}

TEST(resync, reopens_what_was_believed_to_exist_and_does_not)
{
	host client{"fullmesh"};
	const auto open = client.connect(2);
	client(answer(PM_SUB_ESTABLISHED, open[0], 50001)); // its SUB_CLOSED is lost
	client(event(PM_RESYNC_BEGIN, token));
	client(established(token));
	client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
	EXPECT_EQ(opened(client(event(PM_RESYNC_END, token))), 1u);
}

// An overrun that lasts means a resync after the other: each must not be three more attempts.
TEST(resync, forgives_no_failures_of_a_connection_that_was_known)
{
	host client{"fullmesh"};
	const auto read_back = [&] {
		client(event(PM_RESYNC_BEGIN, token));
		client(established(token));
		client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
		return client(event(PM_RESYNC_END, token));
	};
	for (auto commands = client.connect(2); !commands.empty();)
		commands = client(answer(PM_SUB_CLOSED, commands[0], 50000));
	for (int times = 0; times < 3; ++times) {
		const auto exhausted = client.managed.counted().exhausted;
		EXPECT_TRUE(read_back().empty());
		EXPECT_GT(client.managed.counted().exhausted, exhausted) << "which is what a retry is appointed for";
	}
	EXPECT_EQ(opened(client(event(PM_RETRY, token))), 1u);
}

TEST(resync, counts_the_end_of_a_subflow_that_nobody_heard_of)
{
	for (const bool establishes : {false, true}) {
		host client{"fullmesh"};
		auto commands = client.connect(2);
		int times = 0;
		for (u16 port = 50000; !commands.empty(); ++port, ++times) {
			ASSERT_LT(times, 100);
			if (establishes)
				client(answer(PM_SUB_ESTABLISHED, commands[0], port));
			client(event(PM_RESYNC_BEGIN, token)); // its SUB_CLOSED is lost
			client(established(token));
			client(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
			commands = client(event(PM_RESYNC_END, token));
		}
		EXPECT_EQ(times, establishes ? PM_MAX_CLOSURES : PM_MAX_FAILURES);
	}
}

TEST(engine, ignores_a_resync_that_is_about_no_connection)
{
	host client{"fullmesh"};
	client.connect(2);
	EXPECT_TRUE(client(event(PM_RESYNC_BEGIN, 0)).empty());
	EXPECT_TRUE(client(event(PM_RESYNC_END, 0)).empty());
	EXPECT_EQ(client.managed.counted().ignored, 2u);
	EXPECT_EQ(client.managed.locals().present, 3);
}

TEST(manager, takes_the_index_that_an_interface_has_now)
{
	const policy_info &policy = **find_policy("backup");
	manager managed{policy, make_settings(policy, std::vector<std::string>{"backup-interface=7"}).value()};
	const std::vector<std::string> by_name{"backup-interface=lo"}, gone{"backup-interface=gone0"};
	EXPECT_TRUE(managed.name_interfaces(by_name));
	EXPECT_EQ(managed.settings().value[0], 1u);
	EXPECT_FALSE(managed.name_interfaces(by_name)) << "nothing has changed";
	EXPECT_FALSE(managed.name_interfaces(gone)) << "it may come back";
	EXPECT_EQ(managed.settings().value[0], 1u);
}

TEST(manager, looks_at_every_connection_again)
{
	host client{"fullmesh"};
	EXPECT_TRUE(client.managed.look_at_all().empty());
	for (u32 each = 1; each <= 3; ++each)
		client(established(each));
	std::set<u32> tokens;
	for (const pm_event &event : client.managed.look_at_all()) {
		EXPECT_EQ(event.type, PM_RETRY);
		tokens.insert(event.token);
	}
	EXPECT_EQ(tokens, (std::set<u32>{1, 2, 3}));
}

// Byte by byte, whatever is beside it.
TEST(engine, compares_eight_counts_at_once)
{
	for (const u64 beside : {u64{0}, ~u64{0}, u64{0x8000ff7f01800000}})
		for (unsigned a = 0; a < 256; ++a)
			for (unsigned b = 0; b < 256; ++b)
				for (const unsigned place : {0u, 3u, 7u}) {
					const unsigned shift = 8 * place;
					const u64 elsewhere = ~(u64{0xff} << shift);
					const u8 flags = lesser((beside & elsewhere) | u64{a} << shift,
								(~beside & elsewhere) | u64{b} << shift);
					ASSERT_EQ(flags >> place & 1, a < b) << a << ' ' << b << ' ' << place;
				}
	EXPECT_EQ(lesser(0x0102030405060708, 0x0202020506050807), 0x9a);
}

TEST(engine, leaves_a_pair_alone_by_either_count_of_its_own)
{
	for (unsigned failures = 0; failures < 256; ++failures) {
		const bool expected = failures % 16 >= PM_MAX_FAILURES || failures / 16 >= PM_MAX_CLOSURES;
		EXPECT_EQ(is_exhausted(static_cast<u8>(failures)), expected) << failures;
		EXPECT_EQ(exhausted_pairs(u64{failures} << 40), expected ? 1 << 5 : 0) << failures;
	}
}

} // namespace
