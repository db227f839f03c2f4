// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Medians over replays: of runs that count, and of what was measured in them.
#include <gtest/gtest.h>

#include "pathlab/results.hpp"

namespace {

using nlohmann::json;

json replay(double cost)
{
	return {{"trace", "burst.pcap"},
		{"pace", {{"rate", 1000}}},
		{"backend", "netlink"},
		{"excluded", nullptr},
		{"offered_per_s", 1000},
		{"emitted", 100},
		{"delivered", 100},
		{"lost", {{"socket", 0}}},
		{"decisions", {{"expected", 10}, {"made", 10}, {"missing", 0}, {"wrong", 0}}},
		{"latency_ns", {{"n", 100}, {"p50", 2000}, {"p99", 9000}}},
		{"tail_delivered", 1},
		{"cpu_ns_per_event", cost}};
}

// Nothing was delivered, so it cost nothing that could be told, nor took any time.
json deaf()
{
	json run = replay(0);
	run["delivered"] = 0;
	run["lost"]["socket"] = 100;
	run["cpu_ns_per_event"] = nullptr;
	run["latency_ns"] = {{"n", 0}, {"p50", 0}, {"p99", 0}};
	return run;
}

json summary_of(const json &runs) { return pm::pathlab::summarize_runs(runs).at(0); }

TEST(replay_summary, does_not_take_for_nothing_what_was_not_measured)
{
	const json line = summary_of({replay(400), deaf(), deaf()});
	EXPECT_EQ(line.at("cpu_ns_per_event").at("n"), 1);
	EXPECT_EQ(line.at("cpu_ns_per_event").at("median"), 400);
	EXPECT_EQ(line.at("latency_p50_ns").at("median"), 2000);
	EXPECT_EQ(line.at("lost_share").at("n"), 3);
	EXPECT_EQ(line.at("lost_share").at("median"), 1);
}

TEST(replay_summary, has_no_figure_of_what_no_run_has)
{
	const json line = summary_of(json::array({deaf()}));
	EXPECT_TRUE(line.at("cpu_ns_per_event").is_null());
	EXPECT_TRUE(line.at("latency_p99_ns").is_null());
	EXPECT_NE(pm::pathlab::results_table(json::array({line})).find(" - "), std::string::npos);
}

TEST(replay_summary, leaves_out_runs_that_do_not_count)
{
	json late = replay(9000);
	late["excluded"] = "the load generator could not keep its rate";
	const json line = summary_of({replay(400), late});
	EXPECT_EQ(line.at("runs"), 1);
	EXPECT_EQ(line.at("excluded"), 1);
	EXPECT_EQ(line.at("cpu_ns_per_event").at("max"), 400);
	EXPECT_NE(pm::pathlab::results_table(json::array({line})).find("1 of 2 runs excluded: the load generator"),
		  std::string::npos);
}

} // namespace
