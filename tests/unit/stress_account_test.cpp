// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What became of every event, and when a run does not count.
#include <gtest/gtest.h>

#include "replay/stress_account.hpp"

namespace {

using namespace pm;
using namespace pm::replay;

std::uint64_t sum(const event_account &account)
{
	std::uint64_t all = account.delivered;
	for (const auto &[stage, count] : account.lost)
		all += count;
	return all;
}

TEST(stress_account, is_whole_whatever_was_lost_where)
{
	struct {
		const char *what;
		events_seen seen;
		std::optional<events_told> told;
		std::uint64_t delivered;
		std::map<std::string, std::uint64_t> lost;
	} const cases[] = {
		{"nothing sent", {0, 0, {{}}}, {}, 0, {}},
		{"all read", {100, 100, {{}}}, events_told{.delivered = 100}, 100, {}},
		{"not seen to be read", {100, 98, {{}}, 5}, events_told{.delivered = 100}, 100, {}},
		{"dropped", {100, 60, {{40, 0}}}, events_told{.delivered = 60, .lost = 40}, 60, {{"socket", 40}}},
		{"never read", {100, 0, {{90, 10}}}, {}, 0, {{"socket", 90}, {"unread", 10}}},
		{"refused", {100, 100, {{}}}, events_told{.delivered = 97, .refused = 3}, 97, {{"refused", 3}}},
		{"no room", {100, 100, {{}}}, events_told{.delivered = 100, .table_full = 7}, 93, {{"table", 7}}},
		// The first socket was full, with 5 in it and 60 dropped, of which 3 reached the second one too.
		{"taken over",
		 {100, 35, {{60, 5}, {2, 1}}},
		 events_told{.delivered = 20, .lost = 2},
		 35,
		 {{"socket", 2}, {"unread", 1}, {"overrun", 62}}},
		{"through the ring",
		 {100, 0, {}},
		 events_told{.delivered = 80, .lost = 20, .by = events_told::way::ring},
		 80,
		 {{"ringbuf", 20}}},
		{"through a ring that lost others' too",
		 {100, 0, {}},
		 events_told{.delivered = 80, .lost = 30, .by = events_told::way::ring},
		 80,
		 {{"ringbuf", 20}}},
		{"called", {100, 0, {}}, events_told{.delivered = 100, .by = events_told::way::call}, 100, {}},
		{"not always called",
		 {100, 0, {}},
		 events_told{.delivered = 97, .by = events_told::way::call},
		 97,
		 {{"uncalled", 3}}},
		{"read, as far as it is implied",
		 {100, 0, {{40, 0}}, 0, true},
		 events_told{.delivered = 60, .lost = 40},
		 60,
		 {{"socket", 40}}},
		{"read by who says nothing, as far as it is implied",
		 {100, 0, {{30, 10}}, 0, true},
		 {},
		 60,
		 {{"socket", 30}, {"unread", 10}}},
	};
	for (const auto &each : cases) {
		SCOPED_TRACE(each.what);
		const auto account = account_for(each.seen, each.told);
		ASSERT_TRUE(account) << account.error().text;
		EXPECT_EQ(account->emitted, each.seen.sent);
		EXPECT_EQ(account->delivered, each.delivered);
		EXPECT_EQ(sum(*account), account->emitted);
		for (const char *stage : loss_stages) {
			const auto expected = each.lost.find(stage);
			EXPECT_EQ(account->lost.at(stage), expected == each.lost.end() ? 0 : expected->second) << stage;
		}
	}
}

TEST(stress_account, says_what_does_not_close)
{
	struct {
		const char *what;
		events_seen seen;
		std::optional<events_told> told;
	} const cases[] = {
		{"vanished", {100, 99, {{}}}, {}},
		{"read more than was sent", {100, 101, {{}}}, {}},
		{"not seen to be read, more than can be", {100, 90, {{}}, 9}, {}},
		{"counted twice", {100, 90, {{11, 0}}}, {}},
		{"vanished in spite of a takeover", {100, 20, {{10, 0}, {0, 0}}}, {}},
		{"no socket", {100, 100, {}}, {}},
		{"told of fewer", {100, 100, {{}}}, events_told{.delivered = 99}},
		{"told of more", {100, 100, {{}}}, events_told{.delivered = 101}},
		{"knows of no loss", {100, 90, {{10, 0}}}, events_told{.delivered = 90}},
		{"refuses more than there were", {10, 10, {{}}}, events_told{.delivered = 10, .table_full = 11}},
		{"the ring lost what it does not say",
		 {100, 0, {}},
		 events_told{.delivered = 80, .by = events_told::way::ring}},
		{"the ring had more than was sent",
		 {100, 0, {}},
		 events_told{.delivered = 101, .by = events_told::way::ring}},
		{"called for nothing", {100, 0, {}}, events_told{.delivered = 101, .by = events_told::way::call}},
		{"told of more than is implied", {100, 0, {{}}, 0, true}, events_told{.delivered = 101}},
		{"told of fewer than is implied", {100, 0, {{}}, 0, true}, events_told{.delivered = 99}},
	};
	for (const auto &each : cases) {
		const auto account = account_for(each.seen, each.told);
		ASSERT_FALSE(account) << each.what;
		EXPECT_EQ(account.error().text.find("the sums of the run do not close: "), 0u) << account.error().text;
	}
}

TEST(stress_account, says_whether_what_was_sent_was_seen)
{
	EXPECT_EQ(account_for({100, 100, {{}}}, {})->emitted_by, "probe");
	EXPECT_EQ(account_for({100, 0, {{}}, 0, true}, {})->emitted_by, "implied");
}

TEST(stress_account, knows_what_connections_make_the_kernel_send)
{
	EXPECT_EQ(implied_events({.made = 100}), 300u) << "CREATED, ESTABLISHED, CLOSED";
	EXPECT_EQ(implied_events({.made = 100, .subflows_up = 100, .subflows_at_end = 100}), 400u);
	EXPECT_EQ(implied_events({.made = 100, .subflows_up = 200, .subflows_at_end = 100}), 600u)
		<< "one of the two of each was closed before its connection";
	EXPECT_EQ(implied_events({.made = 10, .announced = 20, .withdrawn = 5}), 55u);
	EXPECT_EQ(implied_events({.made = 10, .subflows_up = 3, .subflows_at_end = 5}), 33u)
		<< "two were still being opened";
}

TEST(stress_account, leaves_what_nothing_can_come_of_out_of_what_was_acted_on)
{
	const auto account = account_for({100, 100, {{}}}, events_told{.delivered = 100, .table_full = 5, .idle = 10});
	ASSERT_TRUE(account) << account.error().text;
	EXPECT_EQ(account->acted_on, 85u);
	EXPECT_FALSE(account_for({100, 100, {{}}}, {})->acted_on) << "nobody said";
	EXPECT_FALSE(account_for({10, 0, {}}, events_told{.delivered = 10, .by = events_told::way::call})->acted_on)
		<< "it looks at connections, however many events there were of them";
}

TEST(stress_run, counts_unless_something_was_wrong_with_it)
{
	const run_conditions good{.scheduled_seconds = 1, .opening_seconds = 1.02, .late_p99_ms = 3, .asked = 1000};
	EXPECT_EQ(why_excluded(good), std::nullopt);

	const auto excluded = [&](auto &&change) {
		run_conditions c = good;
		change(c);
		return why_excluded(c).value_or("");
	};
	EXPECT_NE(excluded([](auto &c) { c.account_error = "the sums do not close"; }).find("sums"), std::string::npos);
	EXPECT_NE(excluded([](auto &c) { c.clock_jump_ms = 3600e3; }).find("clock"), std::string::npos);
	EXPECT_NE(excluded([](auto &c) { c.clock_jump_ms = -21; }).find("clock"), std::string::npos);
	EXPECT_NE(excluded([](auto &c) { c.opening_seconds = 1.2; }).find("keep its rate"), std::string::npos);
	EXPECT_NE(excluded([](auto &c) { c.late_p99_ms = 51; }).find("keep its rate"), std::string::npos);
	EXPECT_NE(excluded([](auto &c) { c.failed = 11, c.first_failure = "no route"; }).find("no route"),
		  std::string::npos);

	EXPECT_NE(excluded([](auto &c) { c.at_full_rate = true, c.needs_loss = true; }).find("no overrun"),
		  std::string::npos);
	EXPECT_EQ(excluded([](auto &c) { c.needs_loss = true, c.lost = 1; }), "");

	EXPECT_EQ(excluded([](auto &c) { c.failed = 10; }), "") << "one in a hundred";
	EXPECT_EQ(excluded([](auto &c) { c.at_full_rate = true, c.opening_seconds = 5, c.late_p99_ms = 900; }), "")
		<< "there was no rate to keep";
	EXPECT_EQ(excluded([](auto &c) { c.scheduled_seconds = 0.01, c.opening_seconds = 0.05; }), "")
		<< "a load that is over at once";
}

} // namespace
