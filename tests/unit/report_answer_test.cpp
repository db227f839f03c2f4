// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// The answer at the head of a report: three sentences, each true of the results, whatever is in them and whatever is not.
#include <gtest/gtest.h>

#include "report/answer.hpp"
#include "report/report.hpp"
#include "tests/support/made_results.hpp"
#include "tests/support/read_results.hpp"

namespace pm::report {

namespace {

using test::find;
using test::has;
using test::read;
using test::rows_of;

std::vector<std::string> answer_to(const json &data)
{
	const results all = read(data);
	const auto sentences = answer(all, points_of(all));
	EXPECT_EQ(sentences.size(), 3u);
	for (const std::string &each : sentences) {
		EXPECT_EQ(each.back(), '.') << each;
		EXPECT_FALSE(has(each, "nan") || has(each, "inf ") || has(each, "()")) << each;
	}
	return sentences;
}

TEST(answer, says_that_netlink_is_good_enough_where_it_is)
{
	const auto said = answer_to(test::made_results());
	EXPECT_TRUE(has(said[0], "netlink, ringbuf and bpf (up to 800/s) lost none in any run")) << said[0];
	EXPECT_TRUE(has(said[2],
			"netlink is good enough for all that was tried, up to 8,000/s on the host and up to 800/s "
			"in the virtual machine, and bpf lost nothing either"))
		<< said[2];
}

TEST(answer, says_that_the_kernel_is_worth_it_where_only_netlink_loses)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "netlink" && run["place"] == "vm" &&
		    run["load"]["rate"] == 800) {
			run["events"]["lost"]["socket"] = 80;
			run["events"]["delivered"] = 7920;
		}
	const auto said = answer_to(data);
	EXPECT_TRUE(has(said[2], "netlink lost up to 1.0 % of the events in the virtual machine, where bpf did not: "
				 "there the kernel is worth it"))
		<< said[2];
}

TEST(answer, does_not_hold_netlink_against_another_load_of_bpf)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["place"] == "vm" && run["load"]["rate"] == 800) {
			if (run["backend"] == "netlink") {
				run["events"]["lost"]["socket"] = 80;
				run["events"]["delivered"] = 7920;
			} else if (run["backend"] == "bpf") {
				run["excluded"] = "the load generator could not keep its rate";
			}
		}
	const auto said = answer_to(data);
	EXPECT_TRUE(has(said[2],
			"netlink lost up to 1.0 % of the events in the virtual machine, and whether the kernel does "
			"better was not measured under that load"))
		<< said[2];
}

TEST(answer, says_what_was_only_made_to_lose)
{
	json data = test::made_results(), runs = json::array();
	for (json &run : data["stress"])
		if (run["scenario"] == "overrun")
			runs.push_back(run);
	data["stress"] = runs;
	EXPECT_TRUE(has(answer_to(data)[0], "Of the replayed events")) << answer_to(data)[0];
	EXPECT_TRUE(has(answer_to(data)[0], "; after an overrun that was forced on the host")) << answer_to(data)[0];
	EXPECT_FALSE(has(answer_to(data)[0], "not measured")) << answer_to(data)[0];
	data["replay"] = json::array();
	EXPECT_TRUE(has(answer_to(data)[0],
			"no run of a backend that gets events counts, but for forced losses; after an overrun that was "
			"forced"))
		<< answer_to(data)[0];
}

TEST(answer, takes_nothing_from_excluded_runs)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["backend"] == "netlink" && run["scenario"] != "overrun")
			run["excluded"] = "the load generator could not keep its rate";
	const auto said = answer_to(data);
	EXPECT_FALSE(has(said[0].substr(0, said[0].find(';')), "netlink")) << said[0];
	EXPECT_TRUE(has(said[2], "netlink was not measured (no run of it counts, but for forced losses)")) << said[2];
}

TEST(answer, says_when_the_kernel_was_the_worse_one)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "bpf")
			run["missing"]["at_end"] = 20;
	const auto said = answer_to(data);
	EXPECT_TRUE(has(said[2], "while bpf left up to 1.0 % of the connections without a path in the virtual machine"))
		<< said[2];
}

// Backends are asked for the same rate, but where there is none each makes its own.
TEST(answer, says_each_backends_own_rate)
{
	json data = test::made_results({.replay = false, .stress = false});
	for (const auto &[backend, rate] : {std::pair{"netlink", 900.0}, {"bpf", 1700.0}}) {
		data["stress"].push_back(test::made_run("steady", backend, "vm", 1e6, 1, 0));
		data["stress"].back()["rate"]["made_per_s"] = rate;
	}
	EXPECT_TRUE(has(answer_to(data)[0], "netlink (up to 900/s) and bpf (up to 1,700/s) lost none in any run"))
		<< answer_to(data)[0];
	const document all = make_document({read(data)});
	EXPECT_TRUE(has(find(all, "cost")->pictures.at(0).title, "at full rate (900/s to 1,700/s), in the virtual"))
		<< find(all, "cost")->pictures.at(0).title;
}

// Most backends are in the virtual machine; where netlink loses is on the host.
TEST(answer, looks_at_every_place_and_names_it)
{
	json data = test::made_results({.replay = false});
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "netlink" && run["place"] == "host" &&
		    run["load"]["rate"] == 8000)
			run["missing"]["at_end"] = 20;
	EXPECT_TRUE(has(answer_to(data)[2],
			"netlink left up to 1.0 % of the connections without a path on the host, "
			"and whether the kernel does better was not measured there (bpf, on the "
			"host: this kernel's mptcp_pm_ops has no BPF callbacks); in the virtual "
			"machine netlink (up to 800/s) and bpf (up to 800/s) lost no event and left "
			"no connection without a path"))
		<< answer_to(data)[2];
	for (json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "bpf" && run["place"] == "vm")
			run["missing"]["at_end"] = 20;
	EXPECT_TRUE(has(answer_to(data)[2],
			"; in the virtual machine bpf left up to 1.0 % of the connections without a path "
			"and netlink did not"))
		<< answer_to(data)[2];
}

TEST(answer, has_the_overrun_from_elsewhere_where_the_main_place_has_none)
{
	json data = test::made_results({.replay = false});
	EXPECT_TRUE(has(answer_to(data)[0], "after an overrun that was forced, every path")) << answer_to(data)[0];
	std::erase_if(data["stress"].get_ref<json::array_t &>(),
		      [](const json &run) { return run["scenario"] == "overrun" && run["place"] == "vm"; });
	EXPECT_TRUE(
		has(answer_to(data)[0], "after an overrun that was forced on the host, every path was back after: "))
		<< answer_to(data)[0];
	std::erase_if(data["stress"].get_ref<json::array_t &>(),
		      [](const json &run) { return run["scenario"] == "overrun"; });
	EXPECT_FALSE(has(answer_to(data)[0], "overrun")) << answer_to(data)[0];
}

// Of five runs, so many never had every path back.
TEST(answer, a_recovery_that_did_not_come_is_in_the_median)
{
	for (const auto &[timeouts, words] : {std::pair{0u, "netlink 8"}, {2u, "netlink 8"}, {3u, "netlink never"}}) {
		json data = test::made_results({.replay = false});
		for (json &run : data["stress"])
			if (run["scenario"] == "overrun" && run["backend"] == "netlink" &&
			    run["repetition"].get<unsigned>() <= timeouts)
				run["recovery_ms"] = nullptr;
		const std::string said = answer_to(data)[0];
		const auto at = said.find("every path was back after");
		ASSERT_NE(at, std::string::npos) << said;
		EXPECT_TRUE(has(said.substr(at), words)) << said;
		EXPECT_TRUE(has(said.substr(at), std::to_string(5 - timeouts) + " of 5 runs")) << said;
		const document all = make_document({read(data)});
		const std::string row = rows_of(find(all, "overrun")->tables[0], "netlink").at(0);
		EXPECT_EQ(has(row, "never in " + std::to_string(timeouts) + " of 5"), timeouts > 0) << row;
	}
}

TEST(answer, says_what_was_not_measured)
{
	const auto nothing = answer_to(test::made_results({.replay = false, .stress = false}));
	for (const std::string &each : nothing)
		EXPECT_TRUE(has(each, "not measured")) << each;
	const auto replayed = answer_to(test::made_results({.stress = false}));
	EXPECT_TRUE(has(replayed[0], "Of the replayed events")) << replayed[0];
	EXPECT_TRUE(has(replayed[0], "with real connections it was not measured")) << replayed[0];
	EXPECT_TRUE(has(replayed[2], "not measured")) << replayed[2];
}

} // namespace

} // namespace pm::report
