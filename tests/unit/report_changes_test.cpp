// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// Results against earlier ones: what got slower, and what is not there any more.
#include <gtest/gtest.h>

#include "report/changes.hpp"
#include "tests/support/made_results.hpp"
#include "tests/support/read_results.hpp"

namespace pm::report {

namespace {

using test::has;
using test::read;

TEST(changes, finds_what_got_slower_and_nothing_else)
{
	const results before = read(test::made_results({.seed = 1})),
		      after = read(test::made_results({.seed = 2, .slower = 1.4}));
	const auto found = compare_results(before, after);
	EXPECT_GT(found.figures.size(), 500u);
	EXPECT_EQ(found.better(), 0u);
	EXPECT_GT(found.worse(), 20u);
	for (const changed_figure &each : found.figures)
		if (each.by.beyond_noise) {
			EXPECT_EQ(each.after->backend, "netlink") << each.what->title;
		}
}

TEST(changes, finds_nothing_where_only_the_noise_differs)
{
	const results before = read(test::made_results({.seed = 3})), after = read(test::made_results({.seed = 4}));
	const auto found = compare_results(before, after);
	EXPECT_EQ(found.worse() + found.better(), 0u);
	EXPECT_EQ(compare_results(before, before).worse(), 0u);
}

TEST(changes, are_none_in_how_long_a_queue_became)
{
	for (const bool full_rate : {true, false}) {
		const json before = test::made_results();
		json after = before;
		for (json &run : after["replay"])
			if ((run["pace"]["rate"] == "max") == full_rate)
				for (const char *percentile : {"p50", "p99"})
					run["latency_ns"][percentile] = 40 *
									run["latency_ns"][percentile].get<double>();
		EXPECT_EQ(compare_results(read(before), read(after)).holds(), full_rate);
	}
}

// Of few connections the machine's processor time is only known in large steps.
TEST(changes, are_none_where_the_runs_could_not_tell_them)
{
	for (const double step : {1e3, 1e7}) {
		json before = test::made_results({.seed = 1}), after = test::made_results({.seed = 2});
		for (json *all : {&before, &after})
			for (json &run : (*all)["stress"]) {
				json &cpu = run["cpu_ns_per_connection"];
				cpu["machine_step"] = step;
				cpu["machine"] = cpu["machine"].get<double>() + (all == &after ? 5e6 : 0);
			}
		unsigned told = 0;
		for (const changed_figure &each : compare_results(read(before), read(after)).figures)
			told += each.by.beyond_noise && std::string_view{each.what->key} == "cpu_machine";
		EXPECT_EQ(told > 0, step < 5e6) << step;
	}
}

TEST(changes, says_what_cannot_be_judged_and_that_machines_differ)
{
	json other = test::made_results({.repetitions = 2});
	other["machine"]["processor"] = "Another one";
	const auto found = compare_results(read(test::made_results()), read(other));
	EXPECT_EQ(found.unjudged(), found.figures.size());
	EXPECT_TRUE(has(found.in_one_sentence(), "for want of three runs"));
	EXPECT_TRUE(has(found.in_one_sentence(), "not measured on the same machine"));
}

TEST(changes, says_that_they_were_measured_in_another_way)
{
	json other = test::made_results();
	EXPECT_FALSE(has(compare_results(read(test::made_results()), read(other)).in_one_sentence(), "method"));
	other["versions"]["method"] = 2;
	EXPECT_TRUE(has(compare_results(read(test::made_results()), read(other)).in_one_sentence(),
			"by methods 1 and 2, so that a difference may be one of measuring"));
}

TEST(changes, says_that_the_virtual_machines_differ)
{
	json before = test::made_results();
	before["virtual_machine"] = {{"machine", before["machine"]}};
	json after = before;
	EXPECT_FALSE(has(compare_results(read(before), read(after)).in_one_sentence(), "the same machine"));
	after["virtual_machine"]["machine"]["kernel"] = "7.4.0";
	const auto found = compare_results(read(before), read(after));
	EXPECT_TRUE(has(found.in_one_sentence(), "not measured on the same machine (the virtual one's kernel"))
		<< found.in_one_sentence();
	EXPECT_TRUE(has(to_json(found).at("in_words"), "the virtual one's kernel"));
}

// What was measured with other settings, or of other events, is something else.
TEST(changes, are_looked_for_in_the_same_loads_only)
{
	const json before = test::made_results();
	json other = before;
	for (json &run : other["stress"])
		run["settings"] = {"subflows=8"};
	other["command"] = "pathlab compare --full";
	const auto found = compare_results(read(before), read(other));
	EXPECT_TRUE(found.figures.empty());
	EXPECT_TRUE(has(found.vanished.at(0).in_words(), "--quick")) << found.vanished.at(0).in_words();
	EXPECT_TRUE(has(compare_results(read(other), read(before)).vanished.back().in_words(), "subflows=8"));
}

// ---- what is gone ----

// Of the same results, one with `change` carried out on each run of bpf in the virtual machine.
template <class Change>
comparison_of_results after_a_change(Change &&change, unsigned repetitions = 5)
{
	test::made_options options; // set one by one: gcc 12 does not survive {.name = ...} in a template
	options.repetitions = repetitions;
	options.replay = false;
	const json before = test::made_results(options);
	json after = before, runs = json::array();
	for (json &run : after["stress"])
		if (run["backend"] != "bpf" || change(run))
			runs.push_back(run);
	after["stress"] = runs;
	after["left_out"].push_back({{"backend", "bpf"}, {"place", "vm"}, {"reason", "it does not load"}});
	return compare_results(read(before), read(after));
}

TEST(gone, nothing_is_where_nothing_changed)
{
	const auto same = after_a_change([](json &) { return true; });
	EXPECT_TRUE(same.holds());
	EXPECT_TRUE(same.vanished.empty());
}

TEST(gone, is_explained_by_what_that_part_of_it_lacks)
{
	const auto without_overruns = [](json &run) { return run["scenario"] != "overrun"; };
	json after = test::made_results(), runs = json::array();
	const json before = after;
	for (json &run : after["stress"])
		if (run["backend"] != "bpf" || run["place"] != "vm" || without_overruns(run))
			runs.push_back(run);
	after["stress"] = runs;
	after["left_out"].push_back(
		{{"backend", "bpf"}, {"place", "vm"}, {"part", "step, overrun"}, {"reason", "that takes long"}});
	const auto found = compare_results(read(before), read(after));
	EXPECT_FALSE(found.holds());
	EXPECT_TRUE(has(found.what_got_worse(), "that takes long")) << found.what_got_worse();
}

TEST(gone, is_not_explained_by_what_only_a_part_of_it_lacks)
{
	const json before = test::made_results();
	json after = before, runs = json::array();
	for (json &run : after["stress"])
		if (run["backend"] != "bpf")
			runs.push_back(run);
	after["stress"] = runs;
	for (const auto &[part, reason] :
	     {std::pair{json("overrun"), "that takes long"}, {json(nullptr), "no privilege"}})
		after["left_out"].push_back({{"backend", "bpf"}, {"place", "vm"}, {"part", part}, {"reason", reason}});
	const std::string said = compare_results(read(before), read(after)).in_one_sentence();
	EXPECT_TRUE(has(said, "no privilege")) << said;
	EXPECT_FALSE(has(said, "takes long")) << said;
}

TEST(gone, is_a_backend_that_stopped_working)
{
	const auto found = after_a_change([](json &) { return false; });
	EXPECT_EQ(found.worse(), 0u);
	EXPECT_FALSE(found.holds());
	EXPECT_TRUE(has(found.what_got_worse(),
			"no run of bpf in the virtual machine (steady, 200/s, 2000 connections of 30 ms; "))
		<< found.what_got_worse();
	EXPECT_TRUE(has(found.what_got_worse(), "because it does not load"));
}

TEST(gone, is_a_point_whose_runs_are_all_excluded)
{
	const auto found = after_a_change([](json &run) {
		if (run["load"]["rate"] == 800)
			run["excluded"] = "the clock jumped by 3 s";
		return true;
	});
	EXPECT_FALSE(found.holds());
	ASSERT_EQ(found.vanished.size(), 1u);
	EXPECT_TRUE(has(found.what_got_worse(), "only excluded runs of bpf in the virtual machine (steady, 800/s"))
		<< found.what_got_worse();
	EXPECT_TRUE(has(found.what_got_worse(), "; buffer, 800/s"));
	EXPECT_TRUE(has(found.what_got_worse(), "the clock jumped by 3 s"));
}

TEST(gone, is_a_replay_whose_runs_are_all_excluded)
{
	const json before = test::made_results();
	json after = before;
	for (json &run : after["replay"])
		if (run["backend"] == "netlink" && run["pace"]["rate"] == "max")
			run["excluded"] = "the clock jumped by 3 s";
	const auto found = compare_results(read(before), read(after));
	EXPECT_FALSE(found.holds());
	EXPECT_TRUE(has(found.what_got_worse(), "only excluded runs of netlink")) << found.what_got_worse();
}

TEST(gone, is_a_figure_that_no_run_has_any_more)
{
	const auto found = after_a_change([](json &run) {
		run["join_latency_ns"] = nullptr;
		return true;
	});
	EXPECT_FALSE(found.holds());
	EXPECT_TRUE(
		has(found.what_got_worse(), "no “second path p50” of bpf in the virtual machine (steady, 200/s, 2000 "))
		<< found.what_got_worse();
}

TEST(gone, is_no_overrun_in_which_nothing_was_lost)
{
	const json before = test::made_results();
	json after = before;
	for (json &run : after["stress"])
		if (run["scenario"] == "overrun" && run["backend"] == "netlink") {
			run["events"]["lost"]["socket"] = 0;
			run["events"]["delivered"] = run["events"]["emitted"];
			run["excluded"] = "no event was lost";
		}
	const auto found = compare_results(read(before), read(after));
	EXPECT_TRUE(found.holds()) << found.what_got_worse();
	json broken = after;
	for (json &run : broken["stress"])
		if (run["scenario"] == "overrun" && run["backend"] == "netlink")
			run["connections"]["failed"] = run["connections"]["asked"];
	EXPECT_FALSE(compare_results(read(before), read(broken)).holds()) << "nothing was lost where nothing was sent";
	EXPECT_TRUE(has(found.in_one_sentence(), "netlink lost nothing in any overrun on the host"))
		<< found.in_one_sentence();
}

// However few runs there are.
TEST(gone, is_a_recovery_that_never_comes)
{
	for (const unsigned repetitions : {1u, 5u}) {
		const auto found = after_a_change(
			[](json &run) {
				if (run["scenario"] == "overrun")
					run["recovery_ms"] = nullptr;
				return true;
			},
			repetitions);
		EXPECT_FALSE(found.holds());
		EXPECT_EQ(found.worse(), repetitions < 3 ? 0u : 1u);
		EXPECT_TRUE(has(found.what_got_worse(), "“recovered after” never of bpf in the virtual machine "
							"(overrun, full rate"))
			<< found.what_got_worse();
	}
}

// Also what had not always come before.
TEST(gone, is_what_never_comes_any_more)
{
	const auto recovered_in = [](unsigned runs) {
		json all = test::made_results({.repetitions = 5});
		for (json &run : all["stress"])
			if (run["scenario"] == "overrun" && run["repetition"] > runs)
				run["recovery_ms"] = nullptr;
		return all;
	};
	const results before = read(recovered_in(4)), after = read(recovered_in(0)), mostly = read(recovered_in(3));
	EXPECT_FALSE(compare_results(before, after).holds());
	EXPECT_TRUE(compare_results(before, mostly).holds());
	const results seldom = read(recovered_in(2));
	EXPECT_FALSE(compare_results(before, seldom).holds());
}

TEST(gone, is_not_what_never_came_in_one_run_of_two)
{
	const auto found = after_a_change(
		[](json &run) {
			if (run["scenario"] == "overrun" && run["repetition"] == 2)
				run["recovery_ms"] = nullptr;
			return true;
		},
		2);
	EXPECT_TRUE(found.holds()) << found.what_got_worse();
}

} // namespace

} // namespace pm::report
