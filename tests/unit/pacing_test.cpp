// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
#include "pm-netlink/pacing.hpp"

#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/events.hpp"

using namespace pm;
using namespace pm::netlink;
using namespace pm::test;

namespace {

constexpr u32 token = 7;
constexpr std::uint64_t second = pacer::second;

using commands = std::vector<pm_command>;

// A client with two local addresses, a clock that stands until it is set, and a kernel that does as it is told.
struct host {
	explicit host(unsigned locals = 2)
	{
		for (unsigned l = 1; l <= locals; ++l)
			handle(local_added(local4(static_cast<u8>(l)), l));
	}

	commands handle(const pm_event &event)
	{
		commands all;
		paced.handle(event, now, [&](const pm_command &c) { all.push_back(c); });
		return all;
	}
	commands connect(u32 its = token)
	{
		handle(created(its));
		return handle(established(its));
	}
	commands retry()
	{
		commands all;
		paced.retry_due(now, [&](const pm_command &c) { all.push_back(c); });
		return all;
	}
	commands retry_at(std::uint64_t when)
	{
		now = when;
		return retry();
	}

	// The kernel refuses what it is told, until it is told nothing more.
	void refuse(const commands &wanted)
	{
		for (const pm_command &command : wanted)
			refuse(handle(answer(PM_COMMAND_FAILED, command, 0)));
	}
	std::size_t carry_out(const commands &wanted)
	{
		for (const pm_command &command : wanted)
			if (command.type == PM_OPEN_SUBFLOW)
				handle(answer(PM_SUB_ESTABLISHED, command, ++port));
			else
				handle(answer(PM_SUB_CLOSED, command, command.local_port));
		return wanted.size();
	}
	// A peer that announces an address and takes it back. Yields how many commands that took.
	std::size_t flap(u32 its = token)
	{
		const std::size_t opened = carry_out(handle(announced(its, 1, remote4(2))));
		return opened + carry_out(handle(removed(its, 1)));
	}
	// Flaps until nothing is done about it any more.
	std::size_t flap_until_held()
	{
		std::size_t total = 0;
		while (const std::size_t caused = flap())
			total += caused;
		return total;
	}

	manager managed{**find_policy("fullmesh"), make_settings(**find_policy("fullmesh")).value()};
	pacer paced{managed};
	std::uint64_t now = 1000 * second;
	std::uint16_t port = 50000;
};

TEST(pacer, hands_on_every_command_and_makes_nobody_wait_while_all_goes_well)
{
	host client;
	const commands opened = client.connect();
	ASSERT_EQ(opened.size(), 1u);
	EXPECT_EQ(opened[0].type, PM_OPEN_SUBFLOW);
	client.carry_out(opened);
	EXPECT_FALSE(client.paced.next_due());
	EXPECT_EQ(client.paced.waiting(), 0u);
	EXPECT_TRUE(client.retry_at(client.now + 1000 * second).empty());
	EXPECT_EQ(client.paced.retries(), 0u);
}

TEST(pacer, lets_the_last_subflow_go_a_second_after_another_one_has_come)
{
	host client{1};
	client.connect();
	EXPECT_TRUE(client.handle(local_removed(local4(1))).empty());
	EXPECT_FALSE(client.paced.next_due()) << "it waits for an address, not for a time";
	const commands other = client.handle(local_added(local4(2), 2));
	ASSERT_EQ(other.size(), 1u);
	client.carry_out(other);
	EXPECT_EQ(client.paced.next_due(), client.now + second);
	const commands then = client.retry_at(client.now + second);
	ASSERT_EQ(then.size(), 2u);
	EXPECT_EQ(then[0].type, PM_WITHDRAW);
	EXPECT_EQ(then[1].type, PM_CLOSE_SUBFLOW);
	client.carry_out({then[1]});
	EXPECT_FALSE(client.paced.next_due());
}

TEST(pacer, lets_what_was_kept_go_also_where_the_news_was_of_an_address)
{
	host client{1};
	client.connect();
	client.handle(local_removed(local4(1)));
	client.carry_out(client.handle(local_added(local4(2), 2)));
	client.handle(local_removed(local4(2)));
	EXPECT_TRUE(client.retry_at(client.now + second).empty()) << "there is none that stands";
	EXPECT_FALSE(client.paced.next_due());
	EXPECT_TRUE(client.handle(local_added(local4(2), 2)).empty()) << "it stands again";
	EXPECT_EQ(client.retry_at(client.now + second).size(), 2u);
}

TEST(pacer, does_not_let_what_is_kept_wait_for_what_failed)
{
	host client{2};
	for (unsigned tries = 0; tries < 5; ++tries)
		client.refuse(tries == 0 ? client.connect() : client.retry_at(*client.paced.next_due()));
	ASSERT_GT(*client.paced.next_due(), client.now + 10 * second);
	client.handle(local_removed(local4(1)));
	client.handle(local_removed(local4(2)));
	const commands other = client.handle(local_added(local4(3), 3));
	ASSERT_EQ(other.size(), 1u);
	client.carry_out(other);
	EXPECT_EQ(client.paced.next_due(), client.now + second);
	EXPECT_EQ(client.retry_at(client.now + second).size(), 2u);
}

TEST(pacer, tries_again_what_failed_later_each_time_and_at_least_every_64_seconds)
{
	host client;
	client.refuse(client.connect());
	std::uint64_t retries = 0;
	for (const unsigned delay : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 64u, 64u}) {
		SCOPED_TRACE(delay);
		const std::uint64_t due = client.now + delay * second;
		ASSERT_EQ(client.paced.next_due(), due);
		EXPECT_TRUE(client.retry_at(due - 1).empty()) << "too early";
		const commands again = client.retry_at(due);
		ASSERT_EQ(again.size(), 1u);
		EXPECT_EQ(again[0].type, PM_OPEN_SUBFLOW);
		EXPECT_EQ(client.paced.waiting(), 0u);
		EXPECT_EQ(client.paced.retries(), ++retries);
		client.refuse(again);
	}
	EXPECT_EQ(client.paced.holds(), 0u);
}

// While more is lost than can be mended, the state is read back over and over.
TEST(pacer, waits_longer_each_time_however_often_the_state_is_read_back)
{
	host client;
	client.refuse(client.connect());
	for (const unsigned delay : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 64u}) {
		SCOPED_TRACE(delay);
		const std::uint64_t due = client.now + delay * second;
		for (client.now += second / 10; client.now < due; client.now += second / 2) {
			client.handle(event(PM_RESYNC_BEGIN, token));
			client.handle(established(token));
			client.handle(on_path(PM_SUB_ESTABLISHED, token, local4(1), remote4(1)));
			EXPECT_TRUE(client.handle(event(PM_RESYNC_END, token)).empty());
		}
		ASSERT_EQ(client.paced.next_due(), due);
		const commands again = client.retry_at(due);
		ASSERT_EQ(again.size(), 1u);
		client.refuse(again);
	}
}

TEST(pacer, is_quick_again_after_a_long_quiet_but_not_because_a_subflow_was_established)
{
	host client;
	client.refuse(client.connect());
	for (const unsigned delay : {1u, 2u, 4u})
		client.refuse(client.retry_at(client.now + delay * second));
	client.carry_out(client.retry_at(client.now + 8 * second));
	EXPECT_FALSE(client.paced.next_due());
	client.refuse(client.handle(announced(token, 1, remote4(2))));
	EXPECT_EQ(client.paced.next_due(), client.now + 16 * second) << "the peer may have refused it afterwards";
	client.carry_out(client.retry_at(client.now + 16 * second));
	client.now += 100 * second;
	client.refuse(client.handle(announced(token, 2, remote4(3))));
	EXPECT_EQ(client.paced.next_due(), client.now + second);
}

TEST(pacer, keeps_one_appointment_for_each_connection)
{
	host client;
	client.refuse(client.connect());
	const auto due = client.paced.next_due();
	for (const u8 id : {u8{1}, u8{2}, u8{3}}) {
		client.now += second / 10;
		client.refuse(client.handle(announced(token, id, remote4(static_cast<u8>(id + 1)))));
	}
	EXPECT_EQ(client.paced.waiting(), 1u);
	EXPECT_EQ(client.paced.next_due(), due);
	EXPECT_EQ(client.retry_at(*due).size(), 1u + 3 * 2);
}

TEST(pacer, looks_at_the_connection_whose_time_comes_first)
{
	host client;
	client.refuse(client.connect(1));
	client.refuse(client.retry_at(*client.paced.next_due())); // now it waits for 2 seconds
	client.now += second / 2;
	client.refuse(client.connect(2));
	EXPECT_EQ(client.paced.waiting(), 2u);
	const commands first = client.retry_at(*client.paced.next_due());
	ASSERT_EQ(first.size(), 1u);
	EXPECT_EQ(first[0].token, 2u);
	const commands then = client.retry_at(*client.paced.next_due());
	ASSERT_EQ(then.size(), 1u);
	EXPECT_EQ(then[0].token, 1u);
}

TEST(pacer, looks_at_a_bounded_number_of_connections_at_a_time)
{
	constexpr u32 connections = 600;
	host client;
	for (u32 each = 1; each <= connections; ++each)
		client.refuse(client.connect(each));
	EXPECT_EQ(client.paced.waiting(), connections);
	client.now += second;
	std::size_t looks = 0, tried = 0;
	for (; client.paced.next_due() && *client.paced.next_due() <= client.now; ++looks) {
		const std::size_t some = client.retry().size();
		EXPECT_LE(some, 256u);
		tried += some;
	}
	EXPECT_EQ(tried, connections);
	EXPECT_EQ(looks, 3u);
}

// ---- holding ----

TEST(pacer, holds_a_connection_that_causes_too_many_commands_in_a_second)
{
	host client;
	client.carry_out(client.connect());
	const std::size_t caused = client.flap_until_held();
	EXPECT_GT(caused, pacer::most_commands_per_second - 4) << "4 for each flap";
	EXPECT_LE(caused, pacer::most_commands_per_second + 4);
	EXPECT_EQ(client.paced.holds(), 1u);
	EXPECT_EQ(client.paced.waiting(), 1u);
	EXPECT_EQ(client.paced.next_due(), client.now + second);
}

TEST(pacer, folds_in_what_happens_while_it_holds_and_decides_on_that)
{
	host client;
	client.carry_out(client.connect());
	client.flap_until_held();
	EXPECT_TRUE(client.handle(announced(token, 2, remote4(3))).empty());
	EXPECT_TRUE(client.handle(announced(token, 3, remote4(4))).empty());
	EXPECT_TRUE(client.handle(removed(token, 3)).empty());
	EXPECT_TRUE(client.handle(local_added(local4(3), 3)).empty());
	EXPECT_TRUE(client.retry_at(client.now + second - 1).empty());

	commands opened;
	for (const pm_command &each : client.retry_at(client.now + 1))
		if (each.type == PM_OPEN_SUBFLOW)
			opened.push_back(each);
	ASSERT_EQ(opened.size(), 4u); // from the third address to the first one, and from all three to the new one
	EXPECT_TRUE(same(opened[0].remote, remote4(3)));
	EXPECT_TRUE(same(opened[1].remote, remote4(3)));
	EXPECT_TRUE(same(opened[2].remote, remote4(1)));
	EXPECT_TRUE(same(opened[3].remote, remote4(3)));
	client.carry_out(opened);
	EXPECT_GT(client.flap(), 0u) << "it is held no longer";
}

TEST(pacer, holds_again_and_longer_what_goes_on_without_success)
{
	host client;
	client.connect();
	// Nothing is ever established: each address that is announced is refused, and there is always another one.
	const auto annoy = [&] {
		u8 id = 1;
		for (; !client.paced.next_due() || *client.paced.next_due() <= client.now; ++id)
			client.refuse(client.handle(announced(token, id, remote4(id))));
	};
	std::vector<std::uint64_t> delays;
	for (unsigned round = 0; round < 4; ++round) {
		annoy();
		delays.push_back((*client.paced.next_due() - client.now) / second);
		client.refuse(client.retry_at(*client.paced.next_due()));
	}
	EXPECT_EQ(delays, (std::vector<std::uint64_t>{1, 2, 4, 8}));
}

TEST(pacer, lets_other_connections_pass_while_it_holds_one)
{
	host client;
	client.carry_out(client.connect());
	client.carry_out(client.connect(token + 1));
	client.flap_until_held();
	EXPECT_EQ(client.flap(token), 0u);
	EXPECT_EQ(client.flap(token + 1), 4u);
}

TEST(pacer, holds_nobody_who_causes_as_much_over_more_than_a_second)
{
	host client;
	client.carry_out(client.connect());
	for (unsigned flaps = 0; flaps < 200; ++flaps) {
		client.now += second / 20; // 80 commands a second
		EXPECT_EQ(client.flap(), 4u);
	}
	EXPECT_EQ(client.paced.holds(), 0u);
}

TEST(pacer, has_room_for_the_largest_plan_at_once)
{
	host client{PM_MAX_LOCALS};
	std::size_t caused = client.carry_out(client.connect());
	for (u8 id = 1; id < PM_MAX_REMOTES; ++id)
		caused += client.carry_out(client.handle(announced(token, id, remote4(static_cast<u8>(id + 1)))));
	EXPECT_EQ(caused, PM_MAX_SUBFLOWS - 1u);
	EXPECT_EQ(client.paced.holds(), 0u);
}

// ---- connections that close ----

TEST(pacer, forgets_connections_that_close_while_they_wait)
{
	host client;
	std::size_t most = 0;
	for (u32 each = 1; each <= 20000; ++each) {
		client.refuse(client.connect(each));
		client.handle(event(PM_CLOSED, each));
		most = std::max(most, client.paced.waiting());
	}
	EXPECT_LE(most, 1024u);
}

TEST(pacer, keeps_those_that_wait_when_it_forgets_those_that_closed)
{
	host client;
	constexpr u32 stay = 100;
	for (u32 each = 1; each <= stay; ++each)
		client.refuse(client.connect(each));
	for (u32 each = stay + 1; each <= 5000; ++each) {
		client.refuse(client.connect(each));
		client.handle(event(PM_CLOSED, each));
	}
	std::set<u32> tried;
	client.now += second;
	while (client.paced.next_due() && *client.paced.next_due() <= client.now)
		for (const pm_command &each : client.retry())
			tried.insert(each.token);
	EXPECT_EQ(tried.size(), stay);
	EXPECT_EQ(client.paced.retries(), stay) << "of those that closed, nothing was tried";
}

TEST(pacer, does_not_take_a_new_connection_for_the_one_that_had_its_token)
{
	host client;
	client.refuse(client.connect());
	client.handle(event(PM_CLOSED, token));
	client.carry_out(client.connect());
	EXPECT_TRUE(client.retry_at(client.now + second).empty());
	EXPECT_EQ(client.paced.retries(), 0u);
	EXPECT_EQ(client.paced.waiting(), 0u);
}

} // namespace
