// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a comparison replays.
#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "replay/compare_traces.hpp"
#include "replay/stream.hpp"

namespace {

using namespace pm::replay;

TEST(a_burst, ends_with_the_last_connection_that_is_opened)
{
	const std::string path = testing::TempDir() + "burst-" + std::to_string(getpid()) + ".pcap";
	const auto burst = generate_burst(path, 100'000);
	ASSERT_TRUE(burst) << burst.error().text;
	auto cut = event_stream::open({.trace = path, .most_events = burst->while_opened});
	ASSERT_TRUE(cut) << cut.error().text;
	std::uint64_t events = 0, at_once = 0, opened = 0;
	pm_event last{};
	for (auto item = cut->next(); item && *item; item = cut->next()) {
		if ((*item)->local_change())
			continue;
		last = (*item)->event;
		++events;
		at_once += last.time_ns == 0;
		opened += last.type == PM_CREATED;
	}
	std::filesystem::remove(path);
	EXPECT_EQ(events, burst->while_opened);
	EXPECT_EQ(at_once, burst->at_once);
	EXPECT_EQ(last.type, PM_CREATED);
	EXPECT_EQ(opened, 4000u) << "half of them at once";
	EXPECT_LT(burst->at_once, burst->while_opened);
}

} // namespace
