// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Which connections lack a path when they are closed: the same is meant whether a connection was watched or not.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "pm-netlink/netns.hpp"
#include "replay/path_watch.hpp"

namespace {

using namespace pm;
using namespace pm::replay;

constexpr unsigned number = 8;

// Connections that should have one further subflow, one in two of them watched, closed with so many that are there or being
// opened. Their sockets, which are none of MPTCP, have none that is established.
path_watch::result close_with(unsigned subflows)
{
	path_watch watch;
	watch.expect(1, 0);
	watch.ask_one_in(2);
	watch.begin(number, path_watch::clock::now());
	const descriptor socket(eventfd(0, EFD_CLOEXEC));
	for (unsigned i = 0; i < number; ++i)
		watch.answered(i, socket.get(), false);
	for (unsigned i = 0; i < number; ++i)
		watch.closing(i, false, subflows);
	return watch.take();
}

TEST(path_watch, does_not_take_a_subflow_that_is_being_opened_for_a_path)
{
	const auto result = close_with(1);
	EXPECT_EQ(result.expected, number);
	EXPECT_EQ(result.missing, number) << "those that were watched stand for the others";
	EXPECT_EQ(result.lacking_at_end, number);
}

TEST(path_watch, counts_each_path_that_was_not_begun_once)
{
	const auto result = close_with(0);
	EXPECT_EQ(result.missing, number);
	EXPECT_EQ(result.lacking_at_end, number);
}

TEST(path_watch, does_not_ask_for_paths_of_what_fell_back_and_finds_no_more_lacking_than_there_are)
{
	path_watch watch;
	watch.expect(1, 0);
	watch.ask_one_in(5);
	watch.begin(7, path_watch::clock::now()); // two of them are asked, and stand for ten
	const descriptor socket(eventfd(0, EFD_CLOEXEC));
	for (unsigned i = 0; i < 7; ++i)
		watch.answered(i, socket.get(), false);
	watch.forget(2);
	EXPECT_EQ(watch.failed(), 1u);
	for (const unsigned i : {0u, 1u, 3u, 4u, 5u, 6u})
		watch.closing(i, false, 1);
	EXPECT_EQ(watch.open(), 0u);
	const auto result = watch.take();
	EXPECT_EQ(result.expected, 6u);
	EXPECT_EQ(result.lacking_at_end, 6u);
}

// As the load makes them: every other one is IPv6.
TEST(path_watch, stands_for_both_families_when_not_all_are_asked)
{
	for (const unsigned one_in : {2u, 3u, 5u, 10u, 16u}) {
		SCOPED_TRACE(one_in);
		path_watch watch;
		watch.expect(0, 1);
		watch.ask_one_in(one_in);
		const unsigned connections = 20 * one_in;
		watch.begin(connections, path_watch::clock::now());
		const descriptor socket(eventfd(0, EFD_CLOEXEC));
		for (unsigned i = 0; i < connections; ++i)
			watch.answered(i, socket.get(), i % 2 == 1);
		for (unsigned i = 0; i < connections; ++i)
			watch.closing(i, i % 2 == 1, i % 2);
		const auto result = watch.take();
		EXPECT_EQ(result.expected, connections / 2);
		EXPECT_EQ(result.missing, connections / 2) << "being opened, each of them";
	}
}

// Each connection that is answered is to be asked soon, and yet all that are not settled are not to be asked for it each time.
TEST(path_watch, takes_its_share_of_the_time_whatever_comes)
{
	using clock = path_watch::clock;
	constexpr unsigned waiting = 5000, coming = 1000;
	path_watch watch;
	watch.expect(1, 0);
	watch.begin(waiting + coming, clock::now());
	const descriptor socket(eventfd(0, EFD_CLOEXEC));
	unsigned next = 0;
	while (next < waiting)
		watch.answered(next++, socket.get(), false);
	const auto begun = clock::now();
	clock::duration spent{};
	while (next < waiting + coming) {
		const auto now = clock::now();
		if (now - begun > (next - waiting) * std::chrono::milliseconds(1))
			watch.answered(next++, socket.get(), false);
		if (now < watch.next_look())
			continue;
		watch.look(now);
		spent += clock::now() - now;
	}
	EXPECT_GT(spent.count(), 0);
	EXPECT_LT(spent, (clock::now() - begun) / 4) << "a twentieth, with a wide margin";
}

} // namespace
