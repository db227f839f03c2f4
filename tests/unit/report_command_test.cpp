// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The command that measures a picture again says all that its points depend on.
#include <gtest/gtest.h>

#include "report/selection.hpp"

namespace pm::report {

namespace {

const json usual{{"rate", 2000},	{"connections", 4000}, {"paths", 2},	   {"families", "4"},
		 {"hold_ms", 30},	{"announced", 0},      {"contention", 0},  {"priority", "equal"},
		 {"delay_us", 0},	{"megabits", 0},       {"buffer_bytes", 8 << 20}};

std::string command_of(const char *scenario, const json &changes, const std::vector<std::string> &settings = {})
{
	const json run;
	point one{.scenario = scenario,
		  .backend = "netlink",
		  .policy = "fullmesh",
		  .load = usual,
		  .settings = settings,
		  .runs = {&run}};
	one.load.update(changes);
	return command_for({&one});
}

TEST(report_command, is_short_where_everything_is_as_usual)
{
	EXPECT_EQ(command_of("steady", json::object()),
		  "pathlab stress --through netlink --scenario steady --policy fullmesh --connections 4000 --rate 2000 -n 1");
}

TEST(report_command, names_all_that_is_not)
{
	const struct {
		json change;
		const char *option;
	} cases[] = {
		{{{"paths", 3}}, "--paths 3"},	       {{{"families", "both"}}, "--families both"},
		{{{"hold_ms", 200}}, "--hold 200"},    {{{"announced", 1}}, "--announce 1"},
		{{{"contention", 2}}, "--contention 2"}, {{{"priority", "lower"}}, "--priority lower"},
		{{{"delay_us", 500}}, "--delay 0.5"},  {{{"megabits", 100}}, "--bandwidth 100"},
		{{{"buffer_bytes", 65536}}, "--buffer 65536"},
	};
	for (const auto &each : cases)
		EXPECT_NE(command_of("steady", each.change).find(each.option), std::string::npos) << each.option;
	EXPECT_NE(command_of("steady", json::object(), {"subflows=2"}).find("--set subflows=2"), std::string::npos);
	const std::string hostile = command_of("steady", json::object(), {"a=1; id 'x'"});
	EXPECT_NE(hostile.find(R"(--set 'a=1; id '\''x'\''')"), std::string::npos) << hostile;
}

TEST(report_command, leaves_to_a_scenario_what_it_sets_itself)
{
	const std::string overrun = command_of("overrun", {{"hold_ms", 120'000}, {"buffer_bytes", 16384}});
	EXPECT_EQ(overrun.find("--hold"), std::string::npos) << overrun;
	EXPECT_EQ(overrun.find("--buffer"), std::string::npos) << overrun;
}

TEST(report_command, of_replays_is_that_of_the_comparison)
{
	EXPECT_EQ(command_for_replays("pathlab compare --full --policy fullmesh --buffer 65536"),
		  "pathlab compare --only replay --full --policy fullmesh --buffer 65536");
	EXPECT_EQ(command_for_replays("pathlab compare --only replay --policy fullmesh"),
		  "pathlab compare --only replay --policy fullmesh");
}

} // namespace

} // namespace pm::report
