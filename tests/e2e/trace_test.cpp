// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)
//
// What makes traces and shows them: policies, generate, show. Recording has a file of its own.
#include <map>

#include <nlohmann/json.hpp>

#include "tests/e2e/program.hpp"

namespace pm::e2e {

namespace {

using nlohmann::json;
using traces = command;

TEST_F(traces, the_policies_are_listed_with_their_settings)
{
	const json list = json::parse(succeed({"policies", "-j"}));
	const std::string text = succeed({"policies"});
	std::set<std::string> names;
	for (const json &policy : list.at("policies")) {
		names.insert(policy.at("name"));
		EXPECT_NE(text.find(policy.at("name").get<std::string>() + ": "), std::string::npos) << text;
		EXPECT_NE(policy.at("help"), "");
		for (const json &setting : policy.at("settings")) {
			EXPECT_LE(setting.at("least"), setting.at("preset"));
			EXPECT_LE(setting.at("preset"), setting.at("most"));
			EXPECT_NE(text.find(setting.at("name").get<std::string>() + '='), std::string::npos) << text;
		}
	}
	for (const char *policy : {"ndiffports", "fullmesh"})
		EXPECT_TRUE(names.count(policy)) << policy;
	EXPECT_EQ(succeed({"-j", "policies"}), succeed({"policies", "--json"}));
}

TEST_F(traces, every_shape_is_the_same_for_the_same_seed_and_another_for_another)
{
	for (const std::string shape : {"poisson", "burst", "flash-crowd", "flapping", "mobility"}) {
		SCOPED_TRACE(shape);
		words made;
		for (const words &seed : {words{}, {"--seed", "1"}, {"--seed", "2"}}) {
			words arguments{"generate", "--shape", shape, "--connections", "50", "--rate",
					"100",      "-o",      "new"};
			arguments.insert(arguments.end(), seed.begin(), seed.end());
			EXPECT_EQ(succeed(arguments).find("new: 50 connections, "), 0u);
			made.push_back(read_file(path("new")));
		}
		EXPECT_EQ(made[0], made[1]);
		EXPECT_NE(made[1], made[2]);
	}
	EXPECT_EQ(files(), words{"new"});
}

TEST_F(traces, what_was_generated_is_what_is_shown)
{
	const json made = json::parse(succeed({"generate", "--shape", "poisson", "--connections", "100", "--rate",
					       "1000", "--seed", "7", "-o", "new", "-j"}));
	EXPECT_EQ(made.at("trace"), "new");
	EXPECT_EQ(made.at("shape"), "poisson");
	EXPECT_EQ(made.at("seed"), 7);
	EXPECT_EQ(made.at("connections"), 100);
	EXPECT_EQ(made.at("events"), 700);

	const words text = lines_of(succeed({"show", "new"})), objects = lines_of(succeed({"show", "-j", "new"}));
	ASSERT_EQ(text.size(), objects.size());
	std::map<std::string, unsigned> counts;
	std::set<std::uint32_t> tokens;
	std::uint64_t last = 0;
	for (std::size_t i = 0; i < objects.size(); ++i) {
		const json event = json::parse(objects[i]);
		const std::string name = event.at("event");
		++counts[name];
		EXPECT_EQ(event.at("seq"), i + 1);
		EXPECT_GE(event.at("time_ns"), last);
		last = event.at("time_ns");
		if (event.contains("token"))
			tokens.insert(event.at("token").get<std::uint32_t>());
		for (const char *end : {"local", "remote"})
			if (event.contains(end)) {
				EXPECT_NE(text[i].find(event.at(end).get<std::string>()), std::string::npos) << text[i];
			}
		EXPECT_NE(text[i].find(name), std::string::npos) << text[i];
	}
	EXPECT_EQ(tokens.size(), 100u);
	// Each has three subflows beside its first; the client has two addresses of each family.
	const std::map<std::string, unsigned> expected{{"announced", 100}, {"closed", 100},
						       {"created", 100},   {"established", 100},
						       {"local_added", 4}, {"sub_established", 300}};
	EXPECT_EQ(counts, expected);
}

TEST_F(traces, a_trace_takes_the_place_of_an_older_one_only_when_it_is_whole)
{
	generate("new", 10);
	const std::string old = read_file(path("new"));
	process stopped{{program(), "generate", "--shape", "poisson", "--connections", "100000000", "--rate", "1e6",
			 "-o", "new"},
			folder()};
	EXPECT_TRUE(await(10, [&] { return std::filesystem::exists(path("new.part")); }));
	EXPECT_EQ(read_file(path("new")), old);
	stopped.signal(SIGINT);
	const outcome done = stopped.wait(20);
	EXPECT_EQ(done.status, 130);
	EXPECT_EQ(done.err, "pathlab: interrupted\n");
	EXPECT_EQ(done.out, "");
	EXPECT_EQ(read_file(path("new")), old);
	EXPECT_EQ(files(), words{"new"});
}

TEST_F(traces, every_generated_trace_is_dissected_by_tshark)
{
	if (std::system("command -v tshark >/dev/null") != 0)
		GTEST_SKIP() << "tshark is not installed";
	for (const std::string shape : {"poisson", "burst", "flash-crowd", "flapping", "mobility"}) {
		generate(shape, 20, shape);
		EXPECT_EQ(malformed_frames(path(shape)), "") << shape;
	}
}

} // namespace

} // namespace pm::e2e
