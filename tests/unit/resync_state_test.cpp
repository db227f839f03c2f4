// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// When the state may be read back again.
#include <gtest/gtest.h>

#include "pm-netlink/resync_state.hpp"

namespace {

using pm::netlink::resync_state;

constexpr std::uint64_t second = 1'000'000'000;

// One that settles, reads, and comes to its end, or fails.
std::uint64_t pause_after(resync_state &one, std::uint64_t now, std::uint64_t settling, std::uint64_t reading,
			  bool fails)
{
	one.ask();
	one.begin(now);
	one.read(now + settling);
	const std::uint64_t over = now + settling + reading;
	(void)(fails ? one.fail(over) : one.end(over));
	one.ask();
	return one.due().value_or(0) - over;
}

TEST(resync_state, has_patience_with_the_kernel_not_with_what_is_sent_before)
{
	resync_state one;
	one.begin(second);
	EXPECT_FALSE(one.patience_ends());
	one.read(60 * second);
	EXPECT_EQ(one.patience_ends(), 60 * second + resync_state::patience);
}

TEST(resync_state, leaves_four_fifths_of_the_time_for_events)
{
	resync_state one;
	EXPECT_EQ(pause_after(one, second, 0, second, false), 4 * second);
	EXPECT_EQ(pause_after(one, second, 20 * second, second, false), 4 * second)
		<< "before it, what was decided is sent";
	EXPECT_EQ(pause_after(one, second, 0, 1000, false), resync_state::shortest_pause);
	EXPECT_EQ(one.took(), 1000u);
}

TEST(resync_state, tries_again_later_each_time_that_it_fails)
{
	resync_state one;
	std::uint64_t before = 0, longest = 0;
	for (unsigned failed = 0; failed < 20; ++failed) {
		const std::uint64_t pause = pause_after(one, second, 0, 0, true);
		EXPECT_TRUE(pause == 2 * before || failed == 0 || pause == longest) << failed;
		before = pause;
		longest = std::max(longest, pause);
	}
	EXPECT_EQ(longest, resync_state::shortest_pause << resync_state::longest_pause_log2);
	one.ask_without_more_patience();
	EXPECT_EQ(one.due(), second + resync_state::shortest_pause);
	pause_after(one, second, 0, 0, false);
	EXPECT_EQ(pause_after(one, second, 0, 0, true), resync_state::shortest_pause) << "after one that did not";
}

} // namespace
