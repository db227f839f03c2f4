// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What the table of `pathlab stress` says of runs that differ.
#include <gtest/gtest.h>

#include "pathlab/stress_table.hpp"

namespace {

using namespace pm;

replay::stress_run overrun_that_recovers_in(std::optional<double> ms)
{
	replay::stress_run run;
	run.plan.scenario = "overrun";
	run.backend = "netlink";
	run.policy = "fullmesh";
	run.load.asked = run.load.made = 100;
	run.recovery_ms = ms;
	return run;
}

TEST(stress_table, says_in_how_many_runs_it_recovered)
{
	replay::stress_results all;
	all.runs = {overrun_that_recovers_in(291), overrun_that_recovers_in({}), overrun_that_recovers_in({})};
	const std::string one_of_three = pathlab::stress_table(all);
	EXPECT_NE(one_of_three.find("291 ms in 1 of 3"), std::string::npos) << one_of_three;
	all.runs = {overrun_that_recovers_in(291)};
	const std::string all_of_them = pathlab::stress_table(all);
	EXPECT_EQ(all_of_them.find(" in 1 of"), std::string::npos) << all_of_them;
}

} // namespace
