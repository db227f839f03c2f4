// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What a comparison puts path managers through.
#include <algorithm>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "replay/compare.hpp"

namespace {

using namespace pm::replay;

TEST(compare_plans, have_the_buffer_that_was_asked_for_unless_their_scenario_has_its_own)
{
	for (const extent how_much : {extent::quick, extent::usual, extent::full})
		for (const stress_plan &plan : compare_options::of(how_much, 65536).plans) {
			if (plan.scenario != "buffer" && plan.scenario != "overrun") {
				EXPECT_EQ(plan.load.buffer_bytes, 65536u) << plan.scenario;
			}
		}
	EXPECT_EQ(compare_options::of(extent::quick).plans.front().load.buffer_bytes, 8u << 20);
}

std::set<std::string> scenarios_in(const compare_options &of)
{
	std::set<std::string> all;
	for (const stress_plan &plan : of.plans)
		all.insert(plan.scenario);
	return all;
}

TEST(compare_plans, have_an_overrun_on_the_host)
{
	for (const extent how_much : {extent::quick, extent::usual, extent::full})
		EXPECT_TRUE(scenarios_in(compare_options::of(how_much)).contains("overrun"));
}

TEST(compare_plans, say_which_scenarios_the_virtual_machine_is_spared)
{
	for (const extent how_much : {extent::quick, extent::usual, extent::full}) {
		const auto host = compare_options::of(how_much, 65536, "host"),
			   vm = compare_options::of(how_much, 65536, "vm");
		EXPECT_TRUE(host.scenarios_left_out.empty());
		auto all = scenarios_in(vm);
		for (const std::string &each : vm.scenarios_left_out)
			EXPECT_TRUE(all.insert(each).second) << each;
		EXPECT_EQ(all, scenarios_in(host));
		EXPECT_EQ(vm.scenarios_left_out.empty(), how_much == extent::full);
	}
}

TEST(compare_plans, have_both_families_and_more_than_two_paths)
{
	const auto is_wide = [](const stress_plan &plan) {
		return plan.load.ipv4 && plan.load.ipv6 && plan.load.paths > 2;
	};
	for (const extent how_much : {extent::usual, extent::full}) {
		const auto plans = compare_options::of(how_much).plans;
		EXPECT_TRUE(std::any_of(plans.begin(), plans.end(), is_wide));
	}
}

} // namespace
