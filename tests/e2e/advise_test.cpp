// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// pathlab advise and compare --baseline on results that were made up.
#include <nlohmann/json.hpp>

#include "tests/e2e/program.hpp"
#include "tests/support/made_results.hpp"

namespace pm::e2e {

namespace {

using nlohmann::json;

class advise_command : public command {
protected:
	void SetUp() override
	{
		command::SetUp();
		write("made.json", test::made_results().dump());
		json none = test::made_results({.replay = false, .stress = false});
		write("none.json", none.dump());
		none["schema"] = 1;
		write("old.json", none.dump());
	}
};

TEST_F(advise_command, names_a_backend_a_buffer_and_its_error)
{
	const std::string said = succeed({"advise", "made.json", "--rate", "2000", "--checks"});
	EXPECT_NE(said.find("netlink with a buffer of "), std::string::npos) << said;
	EXPECT_NE(said.find("model off by"), std::string::npos) << said;
	const json all = json::parse(
		succeed({"advise", "-j", "made.json", "--rate", "2000", "--burst", "10000", "--loss", "0.01"}));
	for (const json &each : all.at("backends")) {
		EXPECT_GT(each.at("error").at("points"), 5) << each;
		EXPECT_EQ(each.at("error").at("points"), each.at("checks").size());
		std::size_t lossy = 0;
		for (const json &one : each.at("checks"))
			lossy += one.at("predicted") > 0 || one.at("max") > 0;
		EXPECT_EQ(each.at("error").at("with_loss"), lossy);
	}
	const json calmer = json::parse(succeed({"advise", "-j", "made.json", "--rate", "2000", "--burst", "100"}));
	for (std::size_t i = 0; i < calmer.at("backends").size(); ++i)
		EXPECT_LE(calmer["backends"][i]["buffer_bytes"], all["backends"][i]["buffer_bytes"])
			<< "a smaller burst needs no more";
}

TEST_F(advise_command, calls_nothing_enough_that_was_never_seen_to_lose)
{
	json data = test::made_results({.replay = false}), runs = json::array();
	for (const json &run : data["stress"])
		if (run["scenario"] == "steady" && run["backend"] == "netlink")
			runs.push_back(run);
	data["stress"] = runs;
	write("calm.json", data.dump());
	const std::string said = succeed({"advise", "calm.json", "--rate", "2000"});
	EXPECT_NE(said.find("not known: netlink lost no event"), std::string::npos) << said;
	const json all = json::parse(succeed({"advise", "-j", "calm.json", "--rate", "2000"}));
	EXPECT_TRUE(all["backends"][0]["enough"].is_null()) << all;
	EXPECT_TRUE(all["backends"][0]["buffer_bytes"].is_null()) << all;
	EXPECT_TRUE(all["backends"][0]["lost_share"].is_null()) << all;
}

TEST_F(advise_command, what_makes_no_sense_is_one_sentence)
{
	const std::pair<words, std::pair<int, const char *>> table[] = {
		{{"advise", "made.json"}, {2, "--rate"}},
		{{"advise", "made.json", "--rate", "0"}, {2, "--rate"}},
		{{"advise", "made.json", "--rate", "inf"}, {2, "--rate"}},
		{{"advise", "made.json", "--rate", "10", "--burst", "inf"}, {2, "--burst"}},
		{{"advise", "made.json", "--rate", "10", "--loss", "1"}, {2, "--loss"}},
		{{"advise", "made.json", "--rate", "10", "--place", "moon"}, {2, "moon"}},
		{{"advise", "missing.json", "--rate", "10"}, {1, "No such file"}},
		{{"advise", "old.json", "--rate", "10"}, {1, "has the schema 1"}},
		{{"advise", "none.json", "--rate", "10"}, {1, "no steady stress run"}},
		{{"compare", "-o", "new", "--baseline", "old.json"}, {1, "has the schema 1"}},
		{{"compare", "-o", "new", "--baseline", "missing"}, {1, "No such file"}},
		{{"compare", "-o", "stressed", "--resume"}, {1, "nothing to resume"}},
		{{"compare", "-o", "new", "--quick", "--full"}, {2, "exclude"}},
		{{"compare", "-o", "new", "--only", "frobnicate"}, {2, "frobnicate"}},
	};
	std::filesystem::create_directory(path("stressed"));
	write("stressed/results.json", test::made_results().dump());
	const words before = files();
	for (const auto &[arguments, expected] : table) {
		const outcome done = pathlab(arguments);
		EXPECT_EQ(done.status, expected.first) << done.err;
		EXPECT_EQ(lines_of(done.err).size(), 1u) << done.err;
		EXPECT_NE(done.err.find(expected.second), std::string::npos) << done.err;
	}
	EXPECT_EQ(files(), before);
}

// ---- compare: what it keeps, goes on with and holds against ----

class kept_comparison : public command {};

TEST_F(kept_comparison, goes_on_after_an_interruption_and_measures_nothing_twice)
{
	const words asked{program(), "compare", "--quick", "--only", "replay", "-o", "new", "-j"};
	process stopped{asked, folder()};
	ASSERT_TRUE(await(60, [&] { return std::filesystem::exists(path("new/runs/replay-01-native-1.json")); }));
	stopped.signal_group(SIGINT);
	EXPECT_EQ(stopped.wait(30).status, 130);
	const json before = json::parse(read_file(path("new/results.json")));
	EXPECT_EQ(before.at("complete"), false);
	const std::string first = read_file(path("new/runs/replay-00-native-1.json")),
			  recorded = read_file(path("new/recorded.pcap"));

	words again = asked;
	again.emplace_back("--resume");
	const outcome done = process{again, folder()}.wait(240);
	ASSERT_EQ(done.status, 0) << done.err;
	const json after = json::parse(done.out);
	EXPECT_EQ(after.at("complete"), true);
	EXPECT_GT(after.at("replay").size(), before.at("replay").size());
	for (std::size_t i = 0; i < before.at("replay").size(); ++i)
		EXPECT_EQ(after["replay"][i], before["replay"][i]) << i;
	EXPECT_EQ(read_file(path("new/runs/replay-00-native-1.json")), first);
	EXPECT_EQ(after.at("recording"), before.at("recording"));
	EXPECT_EQ(read_file(path("new/recorded.pcap")), recorded) << "its runs are of one recording";

	// With other options there is nothing to go on with.
	again[2] = "--policy";
	again.insert(again.begin() + 3, "ndiffports");
	const outcome other = process{again, folder()}.wait();
	EXPECT_EQ(other.status, 1);
	EXPECT_NE(other.err.find("other options"), std::string::npos) << other.err;

	// What got ten times slower is no noise on any machine.
	json better = after;
	for (json &run : better["replay"])
		run["cpu_ns_per_event"] = run["cpu_ns_per_event"].is_null()
						  ? json()
						  : json(run["cpu_ns_per_event"].get<double>() / 10);
	write("better.json", better.dump());
	words held = asked;
	held.insert(held.end(), {"--resume", "--baseline", "better.json"});
	const outcome worse = process{held, folder()}.wait(60);
	EXPECT_EQ(worse.status, 1);
	EXPECT_NE(worse.err.find("CPU/event of netlink"), std::string::npos) << worse.err;
	// What ran then, and does not now, is no improvement.
	json more = after;
	for (const json &run : after["replay"])
		if (run["backend"] == "native") {
			more["replay"].push_back(run);
			more["replay"].back()["backend"] = "ringbuf";
		}
	write("more.json", more.dump());
	held.back() = "more.json";
	const outcome gone = process{held, folder()}.wait(60);
	EXPECT_EQ(gone.status, 1);
	EXPECT_NE(gone.err.find("no run of ringbuf on the host"), std::string::npos) << gone.err;
	held.back() = "new";
	EXPECT_EQ(process(held, folder()).wait(60).status, 0) << "nothing is worse than itself";
}

} // namespace

} // namespace pm::e2e
