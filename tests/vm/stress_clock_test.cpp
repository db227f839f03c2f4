// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// A run during which the clock was set does not count. In the virtual machine, whose clock is nobody else's.
#include <cstdio>
#include <ctime>

#include <gtest/gtest.h>

#include "replay/machine.hpp"
#include "replay/stress_runner.hpp"
#include "tests/support/daemon.hpp"

namespace {

using namespace pm;
using namespace pm::replay;
using pm::test::must;

void set_clock_by(time_t seconds)
{
	timespec now{};
	ASSERT_EQ(clock_gettime(CLOCK_REALTIME, &now), 0);
	now.tv_sec += seconds;
	ASSERT_EQ(clock_settime(CLOCK_REALTIME, &now), 0);
}

std::optional<std::string> excluded_if_the_clock_is_set_by(time_t seconds)
{
	const auto plan =
		must(make_plans(*must(find_scenario("steady")), {.connections = 20, .rate = full_rate})).at(0);
	stress_run_options options;
	options.plan = &plan;
	options.backend = must(find_contender("none"));
	options.policy = must(find_policy("fullmesh"));
	bool set = false;
	options.started = [&](contender &) {
		if (seconds != 0)
			set_clock_by(seconds);
		set = seconds != 0;
	};
	const auto ran = run_stress(options);
	if (set)
		set_clock_by(-seconds);
	return must(ran).excluded;
}

TEST(clock_of_a_stress_run, that_was_set_excludes_the_run)
{
	ASSERT_STREQ(this_place(), "vm") << "another machine's clock is not to be set";
	EXPECT_EQ(excluded_if_the_clock_is_set_by(0).value_or(""), "");
	for (const int seconds : {5, -5}) {
		const std::string why = excluded_if_the_clock_is_set_by(seconds).value_or("");
		int jumped_ms = 0;
		ASSERT_EQ(std::sscanf(why.c_str(), "the clock jumped by %d ms", &jumped_ms), 1) << why;
		EXPECT_NEAR(jumped_ms, 1000 * seconds, 500);
	}
}

} // namespace
