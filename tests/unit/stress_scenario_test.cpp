// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The scenarios as tables of steps and actions, and when each connection of them is due.
#include <set>

#include <gtest/gtest.h>

#include "replay/stress_runner.hpp"
#include "replay/stress_scenario.hpp"

namespace {

using namespace pm;
using namespace pm::replay;
using std::chrono::milliseconds;

std::vector<stress_plan> plans_of(const char *name, const stress_load &load = {})
{
	const auto found = find_scenario(name);
	EXPECT_TRUE(found) << found.error().text;
	auto plans = make_plans(**found, load);
	EXPECT_TRUE(plans) << plans.error().text;
	return *plans;
}

TEST(load_schedule, puts_one_step_behind_the_other)
{
	const load_schedule schedule({{100, 1000}, {100, 10'000}, {10, 100}});
	EXPECT_EQ(schedule.connections(), 210u);
	EXPECT_EQ(schedule.due(0), milliseconds(0));
	EXPECT_EQ(schedule.due(50), milliseconds(50));
	EXPECT_EQ(schedule.due(100), milliseconds(100));
	EXPECT_EQ(schedule.due(150), milliseconds(105));
	EXPECT_EQ(schedule.due(200), milliseconds(110));
	EXPECT_EQ(schedule.due(209), milliseconds(200));
	EXPECT_EQ(schedule.length(), milliseconds(210));
}

TEST(scenario, makes_as_many_connections_as_were_asked_for)
{
	for (const scenario &each : scenarios())
		for (const std::uint64_t number : {1u, 2u, 3u, 7u, 100u, 2001u})
			for (const stress_plan &plan :
			     plans_of(std::string(each.name).c_str(), {.connections = number})) {
				EXPECT_EQ(load_schedule(plan.steps).connections(), number) << each.name;
				EXPECT_EQ(plan.scenario, each.name);
				for (const load_step &step : plan.steps)
					EXPECT_TRUE(step.connections > 0 && step.rate > 0) << each.name;
			}
}

TEST(scenario, closes_what_it_keeps_open)
{
	for (const scenario &each : scenarios())
		for (const stress_plan &plan : plans_of(std::string(each.name).c_str()))
			if (plan.load.hold_ms > 1000) {
				ASSERT_FALSE(plan.actions.empty()) << each.name;
				EXPECT_EQ(plan.actions.back(), action::close_all) << each.name;
			}
}

TEST(scenario, differs_from_the_others_in_what_it_is_called_after)
{
	EXPECT_EQ(plans_of("steady").at(0).steps.size(), 1u);
	EXPECT_EQ(plans_of("step").at(0).steps.size(), 3u);
	const auto crowd = plans_of("flash-crowd", {.connections = 400, .rate = 100}).at(0).steps;
	ASSERT_EQ(crowd.size(), 3u);
	EXPECT_EQ(crowd[1].connections, 200u);
	EXPECT_EQ(crowd[1].rate, 1000);
	EXPECT_EQ(plans_of("announce", {.paths = 4}).at(0).load.announced, 3u);
	EXPECT_EQ(plans_of("announce", {.paths = 4, .announced = 1}).at(0).load.announced, 1u);
	EXPECT_EQ(plans_of("overrun").at(0).steps.at(0).rate, full_rate);
	EXPECT_LT(plans_of("overrun").at(0).load.buffer_bytes, stress_load{}.buffer_bytes);

	const auto contended = plans_of("contention");
	ASSERT_EQ(contended.size(), 2u);
	EXPECT_NE(contended[0].load.contenders_priority, contended[1].load.contenders_priority);
	EXPECT_GT(contended[0].load.contention, 0u);
	const auto buffers = plans_of("buffer");
	ASSERT_EQ(buffers.size(), 2u);
	EXPECT_LT(buffers[0].load.buffer_bytes, buffers[1].load.buffer_bytes);
}

TEST(scenario, refuses_a_load_that_makes_no_sense_for_it)
{
	const auto refused = [](const char *name, const stress_load &load) {
		const auto plans = make_plans(**find_scenario(name), load);
		return !plans && plans.error().is_usage;
	};
	EXPECT_TRUE(refused("mobility", {.paths = 1}));
	EXPECT_TRUE(refused("announce", {.paths = 1}));
	EXPECT_TRUE(refused("steady", {.paths = 2, .announced = 2}));
	EXPECT_FALSE(refused("steady", {.paths = 1}));
	EXPECT_FALSE(find_scenario("calm"));
	EXPECT_FALSE(find_contender("native"));
}

TEST(planned_subflows, are_what_the_policy_plans)
{
	struct {
		const char *policy;
		unsigned paths, announced;
		bool ipv6;
		unsigned expected;
	} const cases[] = {
		{"fullmesh", 1, 0, false, 0}, {"fullmesh", 2, 0, false, 1}, {"fullmesh", 2, 0, true, 1},
		{"fullmesh", 2, 1, false, 3}, {"fullmesh", 3, 2, false, 8}, {"ndiffports", 2, 0, false, 1},
		{"announce", 2, 0, false, 0}, {"backup", 2, 0, true, 1},
	};
	for (const auto &each : cases) {
		stress_plan plan;
		plan.load.paths = each.paths;
		plan.load.announced = each.announced;
		plan.load.ipv4 = !each.ipv6;
		plan.load.ipv6 = each.ipv6;
		const auto chosen = choose_policy(each.policy, {});
		ASSERT_TRUE(chosen);
		stress_run_options options;
		options.plan = &plan;
		options.policy = chosen->policy;
		options.settings = chosen->settings;
		EXPECT_EQ(planned_subflows(options, each.ipv6, each.paths), each.expected)
			<< each.policy << ' ' << each.paths << ' ' << each.announced << ' ' << each.ipv6;
	}
}

} // namespace
